"""A method for each operation. Written by `make client`. Do not edit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from typing import Unpack

    from offload._async.jobs import AsyncJob
    from offload._sync.jobs import Job
    from offload.documents import Overlay, Variant
    from offload.inputs import Input, UrlInput
    from offload.submission import Labels, OtherLabels


class AsyncOperations:
    """A method for each operation; each submits a job of one step."""

    async def _run(
        self,
        name: str,
        inputs: Sequence[Any],
        options: Mapping[str, Any],
        labels: OtherLabels,
    ) -> AsyncJob:
        raise NotImplementedError

    async def archive(
        self,
        *inputs: Input,
        format: Literal["zip", "tar", "tar.gz", "tar.zst", "tar.xz", "tar.bz2", "tar.lz4"]
        | None = None,
        level: Literal["balanced", "fast", "best"] | int | None = None,
        path: str | None = None,
        on_collision: Literal["number", "error"] | None = None,
        name: str | None = None,
        deterministic: bool | None = None,
        **labels: Unpack[Labels],
    ) -> AsyncJob:
        """Put many files into one zip or tar, compressed or not.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            format: In a zip each file is compressed by itself and can be opened by itself; a
                compressed tar is smaller where files are alike. Default: `zip`.
            level: `fast`, `balanced` or `best`, or a number as the codec's usual tool counts: 1
                to 9 for zip, tar.gz and tar.bz2, 1 to 22 for tar.zst, 0 to 9 for tar.xz, 1 to 12
                for tar.lz4. A plain tar has none.
            path: Template for the files' paths in the archive. `{path}`: the file's whole path,
                as `extract` left it, or its name. `{folder}`: the folders of that path with a `/`
                at the end, or nothing. `{name}`: its last part; `{stem}` and `{ext}`: that without
                its suffix, and the suffix with its dot (`.tar.gz` whole), or nothing. `{index}`:
                the file's place, from 1; `{index:03}` fills up with zeros. `{{` is a brace. What
                comes out is made relative and storable on any system. Default: `{path}`.
            on_collision: For two files with one path: `number` makes the second `a (2).txt`,
                `error` refuses all. Paths that differ in case only count as one, as they do on
                Windows and macOS; so does a file with a folder of its name. Default: `number`.
            name: The archive's own name; the format's suffix is added if it is not there.
                Default: `archive`.
            deterministic: Whether the same files, in the same order, give the same bytes: all
                carry the time 1980-01-01. If not, they carry the time (UTC) at which the archive
                was made. Default: `true`.
            labels: see `Labels`.
        """
        options = {
            "format": format,
            "level": level,
            "path": path,
            "on_collision": on_collision,
            "name": name,
            "deterministic": deterministic,
        }
        return await self._run("archive", inputs, options, labels)

    async def compress(
        self,
        *inputs: Input,
        format: Literal["gzip", "zlib", "deflate-raw", "zstd", "br", "xz", "bz2", "lz4", "auto"]
        | None = None,
        level: Literal["balanced", "fast", "best"] | int | None = None,
        skip_if_larger: bool | None = None,
        long: bool | int | None = None,
        **labels: Unpack[Labels],
    ) -> AsyncJob:
        """Compress a file: gzip, zlib, raw deflate, zstd, Brotli, xz, bzip2 or LZ4.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            format: `gzip`, `zlib` and `deflate-raw` are the same codec in different wrappers.
                `auto` compresses samples of the file and takes the format that saves most for its
                time, gzip unless another is smaller; a file that hardly shrinks is then passed on
                as it is.
            level: `fast`, `balanced` or `best`, or a number as the codec's usual tool counts: 1
                to 9 for gzip, zlib, deflate-raw and bz2, 1 to 22 for zstd, 0 to 11 for br, 0 to 9
                for xz, 1 to 12 for lz4. A number compresses about as well as the usual tool's level
                of that number or better, usually sooner. `auto` takes the three names only.
            skip_if_larger: Pass the file on as it is, with its name and type, if the result
                would not be smaller. Default: `false`.
            long: For zstd: look for repetitions further back. `true` is a window of 128 MiB, a
                number from 10 to 27 one of 2 to that power bytes. Whoever reads the result needs as
                much memory; the zstd tool allows it, HTTP clients stop at 8 MiB (23). Default:
                `false`.
            labels: see `Labels`.
        """
        options = {
            "format": format,
            "level": level,
            "skip_if_larger": skip_if_larger,
            "long": long,
        }
        return await self._run("compress", inputs, options, labels)

    async def decompress(
        self,
        *inputs: Input,
        format: Literal["gzip", "zlib", "deflate-raw", "zstd", "br", "xz", "bz2", "lz4", "auto"]
        | None = None,
        max_output_bytes: int | None = None,
        max_ratio: float | None = None,
        **labels: Unpack[Labels],
    ) -> AsyncJob:
        """Decompress a file: gzip, zlib, raw deflate, zstd, Brotli, xz, bzip2 or LZ4.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            format: `auto` goes by content. `br` and `deflate-raw` have no signature, so they
                have to be named.
            max_output_bytes: Most bytes that the result may have; the service's own limit holds
                too.
            max_ratio: Most bytes of the result for each byte of the file, once the result is
                over 16 MiB. Deflate cannot exceed 1032; other formats come to 2000 only with
                content that is nearly all one repetition. Default: `2000.0`.
            labels: see `Labels`.
        """
        options = {
            "format": format,
            "max_output_bytes": max_output_bytes,
            "max_ratio": max_ratio,
        }
        return await self._run("decompress", inputs, options, labels)

    async def extract(
        self,
        *inputs: Input,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        list_only: bool | None = None,
        max_entries: int | None = None,
        max_output_bytes: int | None = None,
        max_ratio: float | None = None,
        **labels: Unpack[Labels],
    ) -> AsyncJob:
        """Take the files out of a zip or a tar, compressed or not.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            include: Only members that one of these globs takes; all if empty. `*` stands for
                any characters but `/`, `?` for one, `[a-z]` for one of a set, and `**` as a whole
                part for any number of folders, none included. A pattern without `/` is held against
                the last part of the path, whatever folder it is in; one with `/` against the whole
                path; one that ends in `/` takes all that is in that folder. Upper and lower case
                differ. A list, or one string with commas between.
            exclude: Not the members that one of these globs takes, even if `include` does.
            list_only: Only tell what is in it: `members` in the facts, with `name`, `kind`,
                `size_bytes` as the archive states it, `compressed_bytes` where members are
                compressed one by one, and `refused`, the code of the reason, where a member would
                be left out. Default: `false`.
            max_entries: An archive with more members, of all kinds, is refused. The operator's
                limit on files stands above it. Default: `10000`.
            max_output_bytes: Most that the files may come to together, counted as they are
                written. The operator's limit stands above it, and is used if this is not given.
            max_ratio: How many times its own size an archive may give, counted as it is
                decompressed; the first 16 MiB are always allowed. Deflate cannot exceed 1032.
                Default: `2000.0`.
            labels: see `Labels`.
        """
        options = {
            "include": include,
            "exclude": exclude,
            "list_only": list_only,
            "max_entries": max_entries,
            "max_output_bytes": max_output_bytes,
            "max_ratio": max_ratio,
        }
        return await self._run("extract", inputs, options, labels)

    async def fetch(
        self,
        *inputs: UrlInput,
        timeout_s: float | None = None,
        connect_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
        max_bytes: int | None = None,
        max_redirects: int | None = None,
        retries: int | None = None,
        concurrency: int | None = None,
        per_host_concurrency: int | None = None,
        accept_types: Sequence[str] | None = None,
        dedupe: bool | None = None,
        on_error: Literal["continue", "fail"] | None = None,
        if_changed: bool | None = None,
        **labels: Unpack[Labels],
    ) -> AsyncJob:
        """Fetch URLs, each an item of its own, through the address guard.

        Args:
            inputs: URLs.
            timeout_s: Deadline for one URL, redirects and retries included, in seconds. Default
                and upper bound: the service's own setting.
            connect_timeout_s: Longest wait for a connection, name and TLS included, in seconds.
                Default and upper bound: the service's own setting.
            read_timeout_s: Longest silence of an origin, in seconds. Default and upper bound:
                the service's own setting.
            max_bytes: Largest accepted body after content decoding, in bytes. Default and upper
                bound: the service's own setting.
            max_redirects: Redirects followed; each hop is judged again by the address guard.
                Default and upper bound: the service's own setting.
            retries: Further tries after a connection error, a cut body, 429, 502, 503 or 504.
                Default and upper bound: the service's own setting.
            concurrency: URLs of this batch under way at once, with the steps that follow.
                Default and upper bound: the service's own setting.
            per_host_concurrency: Requests of this batch under way to one scheme, host and port.
                Default and upper bound: the service's own setting.
            accept_types: Media types that are kept, such as `image/*` or `text/csv`; separated
                by commas in a query. The content must be of one of them, and so must what the
                origin calls it, unless that is nothing or `application/octet-stream`. Empty: all.
            dedupe: Fetch a URL that the batch has more than once, with the same headers, digest
                and `max_bytes`, only once; each of its items has the result. Default: `false`.
            on_error: `fail`: the first item that fails cancels what is unfinished of the batch.
                Default: `continue`.
            if_changed: Ask only for what has changed since this client last fetched the same
                URL with the same headers and this option; on 304 the stored bytes are the result.
                Default: `false`.
            labels: see `Labels`.
        """
        options = {
            "timeout_s": timeout_s,
            "connect_timeout_s": connect_timeout_s,
            "read_timeout_s": read_timeout_s,
            "max_bytes": max_bytes,
            "max_redirects": max_redirects,
            "retries": retries,
            "concurrency": concurrency,
            "per_host_concurrency": per_host_concurrency,
            "accept_types": accept_types,
            "dedupe": dedupe,
            "on_error": on_error,
            "if_changed": if_changed,
        }
        return await self._run("fetch", inputs, options, labels)

    async def image(
        self,
        *inputs: Input,
        crop: Sequence[int] | None = None,
        rotate: float | None = None,
        flip: Literal["none", "horizontal", "vertical", "both"] | None = None,
        width: int | None = None,
        height: int | None = None,
        fit: Literal["inside", "outside", "cover", "contain", "pad", "fill"] | None = None,
        enlarge: bool | None = None,
        gravity: Literal[
            "center",
            "north",
            "northeast",
            "east",
            "southeast",
            "south",
            "southwest",
            "west",
            "northwest",
        ]
        | Literal["attention", "entropy"]
        | None = None,
        background: str | None = None,
        flatten: bool | None = None,
        blur: float | None = None,
        sharpen: float | None = None,
        overlay: Overlay | None = None,
        format: Literal["keep", "auto", "jpeg", "png", "webp", "avif", "gif", "tiff"] | None = None,
        auto_webp: Literal["needed", "preferred", "never"] | None = None,
        quality: int | None = None,
        lossless: bool | None = None,
        progressive: bool | None = None,
        effort: int | None = None,
        metadata: Literal["strip", "copyright", "keep"] | Mapping[str, Any] | None = None,
        icc: Literal["srgb", "keep"] | None = None,
        animation: Literal["keep", "first"] | None = None,
        max_frames: int | None = None,
        variants: Sequence[Variant] | None = None,
        **labels: Unpack[OtherLabels],
    ) -> AsyncJob:
        """Resize, crop, turn, pad or convert a picture, into one or many sizes and formats.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            crop: Cut this out before anything else: left, top, width and height in pixels of
                the upright picture, as a list or as `10,20,300,200`. It must lie inside the
                picture.
            rotate: Turn by so many degrees clockwise. Multiples of 90 lose nothing; at others
                the corners that appear are filled with `background`. Default: `0`.
            flip: Mirror, after turning: `horizontal` swaps left and right, `vertical` top and
                bottom. Default: `none`.
            width: Width of the box, in pixels.
            height: Height of the box, in pixels. Given only one of both, the other follows from
                the picture's ratio; given neither, the picture keeps its size.
            fit: `inside`: the largest size that fits into the box, ratio kept. `outside`: the
                smallest that covers it, ratio kept, nothing cut. `cover`: as `outside`, then what
                overhangs the box is cut by `gravity`. `contain`: as `inside`, then padded with
                `background` to exactly the box. `pad`: as `inside`, then padded to the ratio of the
                box; a picture that is smaller than the box gets no more frame than that takes.
                `fill`: exactly the box, ratio ignored. All but `inside` need width and height.
            enlarge: Whether a picture smaller than the box may grow. If not, `inside` and
                `outside` leave it as it is, `cover` cuts only the side that overhangs, so that the
                result may be smaller than the box, `contain` and `pad` only pad it. `fill` always
                gives exactly the box. Default: `false`.
            gravity: Which part `cover` keeps, and where `contain` and `pad` put the picture.
                `attention` keeps what catches the eye (edges, skin, strong colours), `entropy` what
                has the most detail; both pad as `center`. Default: `center`.
            background: Colour as `#rgb`, `#rrggbb`, or with alpha as `#rgba`, `#rrggbbaa`: of
                padding, of the corners that turning opens, and of what shows through transparent
                parts in a JPEG (where its own alpha is ignored) or with `flatten`. Default:
                `#ffffff`.
            flatten: Lay the picture on `background` also where the format has transparency.
                Default: `false`.
            blur: Gaussian blur of the resized picture, sigma in pixels.
            sharpen: Sharpen the lightness of the resized picture; sigma in pixels of the
                unsharp mask.
            overlay: A watermark: a picture that is laid on the result, on each of its frames.
                In a form or a query as JSON text.
            format: `keep`: the source's own, JPEG for a HEIC (WebP for one with transparency),
                PNG for BMP and ICO. `auto`: PNG for drawings (few colours, hard edges), JPEG for
                photographs, WebP for what is cut out of one and for animations; see `auto_webp`.
                Facts say which and why.
            auto_webp: Of format `auto`: `preferred` is WebP for all photographs, `never` is PNG
                for what is cut out of one, and GIF for animations. If not given, the request's
                Accept header decides: `preferred` if it names `image/webp`, `never` if it names
                other picture types only. Default: `needed`.
            quality: Of JPEG, WebP (80 if not given) and AVIF (60). PNG and TIFF are lossless,
                GIF has a palette: they have no quality.
            lossless: Every pixel of the resized picture as it is: for WebP and AVIF, which can
                be either. PNG and TIFF always are; JPEG and GIF cannot, and are refused. `auto`
                then takes WebP or PNG. Default: `false`.
            progressive: Coarse first, then finer: JPEG, and interlaced PNG and GIF. The other
                formats have no such thing. Default: `false`.
            effort: How long to try for a smaller file, mapped to the codec's own scale (TIFF
                has none). WebP, AVIF and GIF take less than asked if the time for an item would not
                suffice; facts then have the `effort` that was. Default: `5`.
            metadata: `copyright`: keep who made it and whose it is (EXIF Copyright and Artist,
                the same in IPTC, XMP's rights), written as EXIF and XMP, and nothing else. `keep`:
                EXIF, XMP, IPTC and comments, without the embedded thumbnail. A GIF holds none of
                it, a TIFF no EXIF. Default: `strip`.
            icc: `srgb`: colours are converted to sRGB by the picture's profile, and the profile
                left out. `keep`: colours and profile stay as they are, except of CMYK, and in a
                GIF, which cannot hold one.
            animation: `keep`: all frames of an animated GIF or WebP, with delays and loop
                count, if the result is GIF or WebP. `first`: the first frame only. Other formats
                always get the first; of a TIFF or AVIF with several pictures it is all that is
                read.
            max_frames: Keep at most this many frames, from the first on.
            variants: Several results out of one decode: each has a `name` and any of the other
                parameters; those it leaves out are as given beside `variants`. In a form or a
                query, as JSON text. A variant that cannot be made does not keep the others from it.
            labels: see `OtherLabels`.
        """
        options = {
            "crop": crop,
            "rotate": rotate,
            "flip": flip,
            "width": width,
            "height": height,
            "fit": fit,
            "enlarge": enlarge,
            "gravity": gravity,
            "background": background,
            "flatten": flatten,
            "blur": blur,
            "sharpen": sharpen,
            "overlay": overlay,
            "format": format,
            "auto_webp": auto_webp,
            "quality": quality,
            "lossless": lossless,
            "progressive": progressive,
            "effort": effort,
            "metadata": metadata,
            "icc": icc,
            "animation": animation,
            "max_frames": max_frames,
            "variants": variants,
        }
        return await self._run("image", inputs, options, labels)

    async def inspect(
        self,
        *inputs: Input,
        digests: Sequence[Literal["sha256", "sha512", "sha1", "md5", "crc32"]] | None = None,
        verify: bool | None = None,
        **labels: Unpack[Labels],
    ) -> AsyncJob:
        """Tell what a file is: type, size, digests, and what its content says of itself.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            digests: Which checksums to compute, hexadecimal. As a list, or in a query separated
                by commas. `sha1` and `md5` are for comparing with old records, not against forgery.
                Default: `["sha256"]`.
            verify: Whether to decode a picture whole, to tell if it is damaged further down.
                Done up to the pixel limit. Archives and compressed files are never decoded for
                that. Default: `true`.
            labels: see `Labels`.
        """
        options = {
            "digests": digests,
            "verify": verify,
        }
        return await self._run("inspect", inputs, options, labels)

    async def optimize(
        self,
        *inputs: Input,
        mode: Literal["lossy", "lossless"] | None = None,
        target_ssim: float | None = None,
        target_bytes: int | None = None,
        formats: Sequence[Literal["keep", "jpeg", "png", "webp", "avif"]] | None = None,
        metadata: Literal["strip", "copyright", "keep"] | Mapping[str, Any] | None = None,
        **labels: Unpack[OtherLabels],
    ) -> AsyncJob:
        """Make a picture's file as small as it gets without looking any different.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            mode: `lossy`: may differ by what is not seen, see `target_ssim`; in 8-bit sRGB.
                `lossless`: exactly the same pixels, depth and colour profile.
            target_ssim: How like the original a lossy result has to be: multi-scale SSIM in CIE
                L*a*b* with DSSIM's pooling, 1 for identical. At 0.998 differences are not seen when
                both flicker in one place, at 0.995 not when flipped to and fro, at 0.99 hardly side
                by side. Of a large picture, the worst part counts. Default: `0.995`.
            target_bytes: If given, the result has at most so many bytes and is as like the
                original as that allows, whatever `target_ssim` says. An input that fits stays as it
                is, or gets smaller without loss.
            formats: What may be written; the smallest is taken. `keep` is the input's own
                format: a GIF or TIFF is then only coded better; of what is read and not written,
                JPEG or PNG. If not given, what the request's Accept header names (`image/webp`,
                `image/avif`) is tried beside `keep`. As a list, or in a query separated by commas.
                Default: `["keep"]`.
            metadata: `copyright`: keep who made it and whose it is, as the operation `image`
                does. `keep`: EXIF, XMP and IPTC go with the picture. What decides its looks,
                orientation and colours, is never lost. An input that is given back has all it had.
                Default: `strip`.
            labels: see `OtherLabels`.
        """
        options = {
            "mode": mode,
            "target_ssim": target_ssim,
            "target_bytes": target_bytes,
            "formats": formats,
            "metadata": metadata,
        }
        return await self._run("optimize", inputs, options, labels)


class Operations:
    """A method for each operation; each submits a job of one step."""

    def _run(
        self,
        name: str,
        inputs: Sequence[Any],
        options: Mapping[str, Any],
        labels: OtherLabels,
    ) -> Job:
        raise NotImplementedError

    def archive(
        self,
        *inputs: Input,
        format: Literal["zip", "tar", "tar.gz", "tar.zst", "tar.xz", "tar.bz2", "tar.lz4"]
        | None = None,
        level: Literal["balanced", "fast", "best"] | int | None = None,
        path: str | None = None,
        on_collision: Literal["number", "error"] | None = None,
        name: str | None = None,
        deterministic: bool | None = None,
        **labels: Unpack[Labels],
    ) -> Job:
        """Put many files into one zip or tar, compressed or not.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            format: In a zip each file is compressed by itself and can be opened by itself; a
                compressed tar is smaller where files are alike. Default: `zip`.
            level: `fast`, `balanced` or `best`, or a number as the codec's usual tool counts: 1
                to 9 for zip, tar.gz and tar.bz2, 1 to 22 for tar.zst, 0 to 9 for tar.xz, 1 to 12
                for tar.lz4. A plain tar has none.
            path: Template for the files' paths in the archive. `{path}`: the file's whole path,
                as `extract` left it, or its name. `{folder}`: the folders of that path with a `/`
                at the end, or nothing. `{name}`: its last part; `{stem}` and `{ext}`: that without
                its suffix, and the suffix with its dot (`.tar.gz` whole), or nothing. `{index}`:
                the file's place, from 1; `{index:03}` fills up with zeros. `{{` is a brace. What
                comes out is made relative and storable on any system. Default: `{path}`.
            on_collision: For two files with one path: `number` makes the second `a (2).txt`,
                `error` refuses all. Paths that differ in case only count as one, as they do on
                Windows and macOS; so does a file with a folder of its name. Default: `number`.
            name: The archive's own name; the format's suffix is added if it is not there.
                Default: `archive`.
            deterministic: Whether the same files, in the same order, give the same bytes: all
                carry the time 1980-01-01. If not, they carry the time (UTC) at which the archive
                was made. Default: `true`.
            labels: see `Labels`.
        """
        options = {
            "format": format,
            "level": level,
            "path": path,
            "on_collision": on_collision,
            "name": name,
            "deterministic": deterministic,
        }
        return self._run("archive", inputs, options, labels)

    def compress(
        self,
        *inputs: Input,
        format: Literal["gzip", "zlib", "deflate-raw", "zstd", "br", "xz", "bz2", "lz4", "auto"]
        | None = None,
        level: Literal["balanced", "fast", "best"] | int | None = None,
        skip_if_larger: bool | None = None,
        long: bool | int | None = None,
        **labels: Unpack[Labels],
    ) -> Job:
        """Compress a file: gzip, zlib, raw deflate, zstd, Brotli, xz, bzip2 or LZ4.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            format: `gzip`, `zlib` and `deflate-raw` are the same codec in different wrappers.
                `auto` compresses samples of the file and takes the format that saves most for its
                time, gzip unless another is smaller; a file that hardly shrinks is then passed on
                as it is.
            level: `fast`, `balanced` or `best`, or a number as the codec's usual tool counts: 1
                to 9 for gzip, zlib, deflate-raw and bz2, 1 to 22 for zstd, 0 to 11 for br, 0 to 9
                for xz, 1 to 12 for lz4. A number compresses about as well as the usual tool's level
                of that number or better, usually sooner. `auto` takes the three names only.
            skip_if_larger: Pass the file on as it is, with its name and type, if the result
                would not be smaller. Default: `false`.
            long: For zstd: look for repetitions further back. `true` is a window of 128 MiB, a
                number from 10 to 27 one of 2 to that power bytes. Whoever reads the result needs as
                much memory; the zstd tool allows it, HTTP clients stop at 8 MiB (23). Default:
                `false`.
            labels: see `Labels`.
        """
        options = {
            "format": format,
            "level": level,
            "skip_if_larger": skip_if_larger,
            "long": long,
        }
        return self._run("compress", inputs, options, labels)

    def decompress(
        self,
        *inputs: Input,
        format: Literal["gzip", "zlib", "deflate-raw", "zstd", "br", "xz", "bz2", "lz4", "auto"]
        | None = None,
        max_output_bytes: int | None = None,
        max_ratio: float | None = None,
        **labels: Unpack[Labels],
    ) -> Job:
        """Decompress a file: gzip, zlib, raw deflate, zstd, Brotli, xz, bzip2 or LZ4.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            format: `auto` goes by content. `br` and `deflate-raw` have no signature, so they
                have to be named.
            max_output_bytes: Most bytes that the result may have; the service's own limit holds
                too.
            max_ratio: Most bytes of the result for each byte of the file, once the result is
                over 16 MiB. Deflate cannot exceed 1032; other formats come to 2000 only with
                content that is nearly all one repetition. Default: `2000.0`.
            labels: see `Labels`.
        """
        options = {
            "format": format,
            "max_output_bytes": max_output_bytes,
            "max_ratio": max_ratio,
        }
        return self._run("decompress", inputs, options, labels)

    def extract(
        self,
        *inputs: Input,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
        list_only: bool | None = None,
        max_entries: int | None = None,
        max_output_bytes: int | None = None,
        max_ratio: float | None = None,
        **labels: Unpack[Labels],
    ) -> Job:
        """Take the files out of a zip or a tar, compressed or not.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            include: Only members that one of these globs takes; all if empty. `*` stands for
                any characters but `/`, `?` for one, `[a-z]` for one of a set, and `**` as a whole
                part for any number of folders, none included. A pattern without `/` is held against
                the last part of the path, whatever folder it is in; one with `/` against the whole
                path; one that ends in `/` takes all that is in that folder. Upper and lower case
                differ. A list, or one string with commas between.
            exclude: Not the members that one of these globs takes, even if `include` does.
            list_only: Only tell what is in it: `members` in the facts, with `name`, `kind`,
                `size_bytes` as the archive states it, `compressed_bytes` where members are
                compressed one by one, and `refused`, the code of the reason, where a member would
                be left out. Default: `false`.
            max_entries: An archive with more members, of all kinds, is refused. The operator's
                limit on files stands above it. Default: `10000`.
            max_output_bytes: Most that the files may come to together, counted as they are
                written. The operator's limit stands above it, and is used if this is not given.
            max_ratio: How many times its own size an archive may give, counted as it is
                decompressed; the first 16 MiB are always allowed. Deflate cannot exceed 1032.
                Default: `2000.0`.
            labels: see `Labels`.
        """
        options = {
            "include": include,
            "exclude": exclude,
            "list_only": list_only,
            "max_entries": max_entries,
            "max_output_bytes": max_output_bytes,
            "max_ratio": max_ratio,
        }
        return self._run("extract", inputs, options, labels)

    def fetch(
        self,
        *inputs: UrlInput,
        timeout_s: float | None = None,
        connect_timeout_s: float | None = None,
        read_timeout_s: float | None = None,
        max_bytes: int | None = None,
        max_redirects: int | None = None,
        retries: int | None = None,
        concurrency: int | None = None,
        per_host_concurrency: int | None = None,
        accept_types: Sequence[str] | None = None,
        dedupe: bool | None = None,
        on_error: Literal["continue", "fail"] | None = None,
        if_changed: bool | None = None,
        **labels: Unpack[Labels],
    ) -> Job:
        """Fetch URLs, each an item of its own, through the address guard.

        Args:
            inputs: URLs.
            timeout_s: Deadline for one URL, redirects and retries included, in seconds. Default
                and upper bound: the service's own setting.
            connect_timeout_s: Longest wait for a connection, name and TLS included, in seconds.
                Default and upper bound: the service's own setting.
            read_timeout_s: Longest silence of an origin, in seconds. Default and upper bound:
                the service's own setting.
            max_bytes: Largest accepted body after content decoding, in bytes. Default and upper
                bound: the service's own setting.
            max_redirects: Redirects followed; each hop is judged again by the address guard.
                Default and upper bound: the service's own setting.
            retries: Further tries after a connection error, a cut body, 429, 502, 503 or 504.
                Default and upper bound: the service's own setting.
            concurrency: URLs of this batch under way at once, with the steps that follow.
                Default and upper bound: the service's own setting.
            per_host_concurrency: Requests of this batch under way to one scheme, host and port.
                Default and upper bound: the service's own setting.
            accept_types: Media types that are kept, such as `image/*` or `text/csv`; separated
                by commas in a query. The content must be of one of them, and so must what the
                origin calls it, unless that is nothing or `application/octet-stream`. Empty: all.
            dedupe: Fetch a URL that the batch has more than once, with the same headers, digest
                and `max_bytes`, only once; each of its items has the result. Default: `false`.
            on_error: `fail`: the first item that fails cancels what is unfinished of the batch.
                Default: `continue`.
            if_changed: Ask only for what has changed since this client last fetched the same
                URL with the same headers and this option; on 304 the stored bytes are the result.
                Default: `false`.
            labels: see `Labels`.
        """
        options = {
            "timeout_s": timeout_s,
            "connect_timeout_s": connect_timeout_s,
            "read_timeout_s": read_timeout_s,
            "max_bytes": max_bytes,
            "max_redirects": max_redirects,
            "retries": retries,
            "concurrency": concurrency,
            "per_host_concurrency": per_host_concurrency,
            "accept_types": accept_types,
            "dedupe": dedupe,
            "on_error": on_error,
            "if_changed": if_changed,
        }
        return self._run("fetch", inputs, options, labels)

    def image(
        self,
        *inputs: Input,
        crop: Sequence[int] | None = None,
        rotate: float | None = None,
        flip: Literal["none", "horizontal", "vertical", "both"] | None = None,
        width: int | None = None,
        height: int | None = None,
        fit: Literal["inside", "outside", "cover", "contain", "pad", "fill"] | None = None,
        enlarge: bool | None = None,
        gravity: Literal[
            "center",
            "north",
            "northeast",
            "east",
            "southeast",
            "south",
            "southwest",
            "west",
            "northwest",
        ]
        | Literal["attention", "entropy"]
        | None = None,
        background: str | None = None,
        flatten: bool | None = None,
        blur: float | None = None,
        sharpen: float | None = None,
        overlay: Overlay | None = None,
        format: Literal["keep", "auto", "jpeg", "png", "webp", "avif", "gif", "tiff"] | None = None,
        auto_webp: Literal["needed", "preferred", "never"] | None = None,
        quality: int | None = None,
        lossless: bool | None = None,
        progressive: bool | None = None,
        effort: int | None = None,
        metadata: Literal["strip", "copyright", "keep"] | Mapping[str, Any] | None = None,
        icc: Literal["srgb", "keep"] | None = None,
        animation: Literal["keep", "first"] | None = None,
        max_frames: int | None = None,
        variants: Sequence[Variant] | None = None,
        **labels: Unpack[OtherLabels],
    ) -> Job:
        """Resize, crop, turn, pad or convert a picture, into one or many sizes and formats.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            crop: Cut this out before anything else: left, top, width and height in pixels of
                the upright picture, as a list or as `10,20,300,200`. It must lie inside the
                picture.
            rotate: Turn by so many degrees clockwise. Multiples of 90 lose nothing; at others
                the corners that appear are filled with `background`. Default: `0`.
            flip: Mirror, after turning: `horizontal` swaps left and right, `vertical` top and
                bottom. Default: `none`.
            width: Width of the box, in pixels.
            height: Height of the box, in pixels. Given only one of both, the other follows from
                the picture's ratio; given neither, the picture keeps its size.
            fit: `inside`: the largest size that fits into the box, ratio kept. `outside`: the
                smallest that covers it, ratio kept, nothing cut. `cover`: as `outside`, then what
                overhangs the box is cut by `gravity`. `contain`: as `inside`, then padded with
                `background` to exactly the box. `pad`: as `inside`, then padded to the ratio of the
                box; a picture that is smaller than the box gets no more frame than that takes.
                `fill`: exactly the box, ratio ignored. All but `inside` need width and height.
            enlarge: Whether a picture smaller than the box may grow. If not, `inside` and
                `outside` leave it as it is, `cover` cuts only the side that overhangs, so that the
                result may be smaller than the box, `contain` and `pad` only pad it. `fill` always
                gives exactly the box. Default: `false`.
            gravity: Which part `cover` keeps, and where `contain` and `pad` put the picture.
                `attention` keeps what catches the eye (edges, skin, strong colours), `entropy` what
                has the most detail; both pad as `center`. Default: `center`.
            background: Colour as `#rgb`, `#rrggbb`, or with alpha as `#rgba`, `#rrggbbaa`: of
                padding, of the corners that turning opens, and of what shows through transparent
                parts in a JPEG (where its own alpha is ignored) or with `flatten`. Default:
                `#ffffff`.
            flatten: Lay the picture on `background` also where the format has transparency.
                Default: `false`.
            blur: Gaussian blur of the resized picture, sigma in pixels.
            sharpen: Sharpen the lightness of the resized picture; sigma in pixels of the
                unsharp mask.
            overlay: A watermark: a picture that is laid on the result, on each of its frames.
                In a form or a query as JSON text.
            format: `keep`: the source's own, JPEG for a HEIC (WebP for one with transparency),
                PNG for BMP and ICO. `auto`: PNG for drawings (few colours, hard edges), JPEG for
                photographs, WebP for what is cut out of one and for animations; see `auto_webp`.
                Facts say which and why.
            auto_webp: Of format `auto`: `preferred` is WebP for all photographs, `never` is PNG
                for what is cut out of one, and GIF for animations. If not given, the request's
                Accept header decides: `preferred` if it names `image/webp`, `never` if it names
                other picture types only. Default: `needed`.
            quality: Of JPEG, WebP (80 if not given) and AVIF (60). PNG and TIFF are lossless,
                GIF has a palette: they have no quality.
            lossless: Every pixel of the resized picture as it is: for WebP and AVIF, which can
                be either. PNG and TIFF always are; JPEG and GIF cannot, and are refused. `auto`
                then takes WebP or PNG. Default: `false`.
            progressive: Coarse first, then finer: JPEG, and interlaced PNG and GIF. The other
                formats have no such thing. Default: `false`.
            effort: How long to try for a smaller file, mapped to the codec's own scale (TIFF
                has none). WebP, AVIF and GIF take less than asked if the time for an item would not
                suffice; facts then have the `effort` that was. Default: `5`.
            metadata: `copyright`: keep who made it and whose it is (EXIF Copyright and Artist,
                the same in IPTC, XMP's rights), written as EXIF and XMP, and nothing else. `keep`:
                EXIF, XMP, IPTC and comments, without the embedded thumbnail. A GIF holds none of
                it, a TIFF no EXIF. Default: `strip`.
            icc: `srgb`: colours are converted to sRGB by the picture's profile, and the profile
                left out. `keep`: colours and profile stay as they are, except of CMYK, and in a
                GIF, which cannot hold one.
            animation: `keep`: all frames of an animated GIF or WebP, with delays and loop
                count, if the result is GIF or WebP. `first`: the first frame only. Other formats
                always get the first; of a TIFF or AVIF with several pictures it is all that is
                read.
            max_frames: Keep at most this many frames, from the first on.
            variants: Several results out of one decode: each has a `name` and any of the other
                parameters; those it leaves out are as given beside `variants`. In a form or a
                query, as JSON text. A variant that cannot be made does not keep the others from it.
            labels: see `OtherLabels`.
        """
        options = {
            "crop": crop,
            "rotate": rotate,
            "flip": flip,
            "width": width,
            "height": height,
            "fit": fit,
            "enlarge": enlarge,
            "gravity": gravity,
            "background": background,
            "flatten": flatten,
            "blur": blur,
            "sharpen": sharpen,
            "overlay": overlay,
            "format": format,
            "auto_webp": auto_webp,
            "quality": quality,
            "lossless": lossless,
            "progressive": progressive,
            "effort": effort,
            "metadata": metadata,
            "icc": icc,
            "animation": animation,
            "max_frames": max_frames,
            "variants": variants,
        }
        return self._run("image", inputs, options, labels)

    def inspect(
        self,
        *inputs: Input,
        digests: Sequence[Literal["sha256", "sha512", "sha1", "md5", "crc32"]] | None = None,
        verify: bool | None = None,
        **labels: Unpack[Labels],
    ) -> Job:
        """Tell what a file is: type, size, digests, and what its content says of itself.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            digests: Which checksums to compute, hexadecimal. As a list, or in a query separated
                by commas. `sha1` and `md5` are for comparing with old records, not against forgery.
                Default: `["sha256"]`.
            verify: Whether to decode a picture whole, to tell if it is damaged further down.
                Done up to the pixel limit. Archives and compressed files are never decoded for
                that. Default: `true`.
            labels: see `Labels`.
        """
        options = {
            "digests": digests,
            "verify": verify,
        }
        return self._run("inspect", inputs, options, labels)

    def optimize(
        self,
        *inputs: Input,
        mode: Literal["lossy", "lossless"] | None = None,
        target_ssim: float | None = None,
        target_bytes: int | None = None,
        formats: Sequence[Literal["keep", "jpeg", "png", "webp", "avif"]] | None = None,
        metadata: Literal["strip", "copyright", "keep"] | Mapping[str, Any] | None = None,
        **labels: Unpack[OtherLabels],
    ) -> Job:
        """Make a picture's file as small as it gets without looking any different.

        Args:
            inputs: paths, bytes, streams, URLs or stored files.
            mode: `lossy`: may differ by what is not seen, see `target_ssim`; in 8-bit sRGB.
                `lossless`: exactly the same pixels, depth and colour profile.
            target_ssim: How like the original a lossy result has to be: multi-scale SSIM in CIE
                L*a*b* with DSSIM's pooling, 1 for identical. At 0.998 differences are not seen when
                both flicker in one place, at 0.995 not when flipped to and fro, at 0.99 hardly side
                by side. Of a large picture, the worst part counts. Default: `0.995`.
            target_bytes: If given, the result has at most so many bytes and is as like the
                original as that allows, whatever `target_ssim` says. An input that fits stays as it
                is, or gets smaller without loss.
            formats: What may be written; the smallest is taken. `keep` is the input's own
                format: a GIF or TIFF is then only coded better; of what is read and not written,
                JPEG or PNG. If not given, what the request's Accept header names (`image/webp`,
                `image/avif`) is tried beside `keep`. As a list, or in a query separated by commas.
                Default: `["keep"]`.
            metadata: `copyright`: keep who made it and whose it is, as the operation `image`
                does. `keep`: EXIF, XMP and IPTC go with the picture. What decides its looks,
                orientation and colours, is never lost. An input that is given back has all it had.
                Default: `strip`.
            labels: see `OtherLabels`.
        """
        options = {
            "mode": mode,
            "target_ssim": target_ssim,
            "target_bytes": target_bytes,
            "formats": formats,
            "metadata": metadata,
        }
        return self._run("optimize", inputs, options, labels)
