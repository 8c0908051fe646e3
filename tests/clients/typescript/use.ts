/** Compress, image and fetch with a generated client: `node use.js URL KEY ORIGIN FOLDER`.
 *
 * Prints what the calls gave, as JSON. The client is in the folder `client` beside this file.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

import { client } from "./client/client.gen";
import {
  compress,
  compressNamed,
  fetch_,
  getContent,
  imageNamed,
  storeFile,
  type JobView,
  type ProblemView,
} from "./client";

const [url, key, origin, folder] = process.argv.slice(2);
const file = (name: string) => new File([new Uint8Array(readFileSync(join(folder, name)))], name);

function job(answer: { data?: JobView; error?: unknown }): JobView {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

async function main() {
  client.setConfig({ baseUrl: url, auth: key });
  const compressed = job(
    await compressNamed({
      path: { filename: "access.log" },
      body: file("access.log"),
      query: { level: 9, wait: 20 },
    }),
  );
  const webp = job(
    await imageNamed({
      path: { filename: "photo.jpg" },
      body: file("photo.jpg"),
      query: {
        width: 64,
        height: 48,
        fit: "cover",
        format: "webp",
        crop: [0, 0, 800, 600],
        wait: 20,
      },
    }),
  );
  const fetched = job(await fetch_({ body: { urls: [`${origin}/7`] }, query: { wait: 20 } }));
  const stored = await storeFile({ body: { file: file("access.log") } });
  if (stored.data === undefined) throw new Error(JSON.stringify(stored.error));
  const several = job(
    await compress({
      body: { file_ids: [stored.data.id, stored.data.id], tag: "stored" },
      query: { format: "zstd", tag: "stored", wait: 20 },
    }),
  );
  const result = webp.items?.[0].results[0];
  const content = await getContent({ path: { file_id: result?.id ?? "" } });
  const bytes = Buffer.from(await (content.data as Blob).arrayBuffer());
  const refused = await compress({ body: { urls: [] }, query: { level: 77 } });
  const problem: ProblemView | undefined = refused.error;
  console.log(
    JSON.stringify({
      jobs: [compressed.id, webp.id, fetched.id],
      level: compressed.steps[0].params["level"],
      webp: bytes.subarray(0, 4).toString("latin1"),
      names: several.items?.map((item) => item.results[0].name),
      tag: several.tag,
      code: problem?.code,
    }),
  );
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
