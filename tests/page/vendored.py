"""The page's libraries as copies of what npm has locked: `make page` writes them anew.

A file is taken as its package has it, but for three things: a browser finds no package by its bare
name, there is no source map beside it here, and of uPlot only a script is minified. The manifest
says so of each that was changed.
"""

import hashlib
import json
import re
from pathlib import Path

MODULES = Path(__file__).with_name("node_modules")
VENDOR = Path(__file__).parents[2] / "app" / "page" / "vendor"
FILES = {
    "preact.js": ("preact", "dist/preact.mjs"),
    "preact-hooks.js": ("preact", "hooks/dist/hooks.mjs"),
    "htm.js": ("htm", "dist/htm.module.js"),
    "uplot.js": ("uplot", "dist/uPlot.iife.min.js"),
    "uplot.css": ("uplot", "dist/uPlot.min.css"),
}
EXPORTED = r"\1export default uPlot;\n"
CHANGES = {
    "an import by the package's name is one by the file's": (r'from"preact"', 'from"./preact.js"'),
    "the line that names a source map is left out": (r"//# sourceMappingURL=.*\n?", ""),
    "the global that it makes is its export": (r"(?s)\A(/\*!.*\*/\s*var uPlot=.*)\Z", EXPORTED),
}


def vendored():
    """Give the content of each file of the folder, by name."""
    found, manifest = {}, {}
    for name, (package, source) in FILES.items():
        told = json.loads((MODULES / package / "package.json").read_text())
        given = (MODULES / package / source).read_text()
        text, changed = given, []
        for said, (pattern, instead) in CHANGES.items():
            before, text = text, re.sub(pattern, instead, text)
            changed += [said] if text != before else []
        found[name] = text.encode()
        manifest[name] = {
            "package": package,
            "version": told["version"],
            "licence": told["license"],
            "source": source,
            "source_sha256": sha256(given.encode()),
            "sha256": sha256(found[name]),
            "changed": changed,
        }
    licences = [
        f"{package}\n\n{(MODULES / package / 'LICENSE').read_text().strip()}\n"
        for package in sorted({package for package, _ in FILES.values()})
    ]
    found["LICENSES.txt"] = ("\n" + "-" * 72 + "\n").join(licences).encode()
    found["manifest.json"] = f"{json.dumps(manifest, indent=2)}\n".encode()
    return found


def sha256(content):
    """Give a digest in hex."""
    return hashlib.sha256(content).hexdigest()


if __name__ == "__main__":
    VENDOR.mkdir(exist_ok=True)
    for file in VENDOR.iterdir():
        file.unlink()
    for name, content in vendored().items():
        (VENDOR / name).write_bytes(content)
