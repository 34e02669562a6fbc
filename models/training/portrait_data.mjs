// Prints one line of JSON for each seed: the SVG that DiceBear draws, and what it drew. Knows no pixels.
// Arguments: a folder whose node_modules holds @dicebear/core and @dicebear/pixel-art, the first seed's number, how many.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import path from 'node:path';

const [folder, first, count] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(folder), 'portraits.js'));
// The packages export ES modules only: resolve the folder, then import the file that their package.json names.
async function load(name) {
  const base = require.resolve.paths(name).map((each) => path.join(each, name));
  const { existsSync, readFileSync } = await import('node:fs');
  const root = base.find((each) => existsSync(path.join(each, 'package.json')));
  if (!root) throw new Error(`${name} is not installed below ${folder}`);
  const about = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8'));
  const entry = about.exports?.['.']?.default ?? about.exports?.default ?? about.exports ?? about.main;
  return import(pathToFileURL(path.join(root, typeof entry === 'string' ? entry : about.main)));
}

const { createAvatar } = await load('@dicebear/core');
const style = await load('@dicebear/pixel-art');
const backgroundColor = ['b6e3f4', 'c0aede', 'd1d4f9', 'ffd5dc', 'ffdfbf'];
for (let number = Number(first); number < Number(first) + Number(count); number += 1) {
  const avatar = createAvatar(style, { seed: `avatar-${number}`, size: 16, backgroundColor });
  const { svg, extra } = avatar.toJson();
  process.stdout.write(`${JSON.stringify({ svg, extra })}\n`);
}
