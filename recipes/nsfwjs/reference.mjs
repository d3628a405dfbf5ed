// The classes of pictures by TensorFlow.js, as JSON; run by `judge.py`.
//
//     node reference.mjs MODULES FOLDER
//
// MODULES has @tensorflow/tfjs and nsfwjs, FOLDER the pixels as NAME.raw, and pictures.json with
// [height, width, 3] of each NAME.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [modules, folder] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const tf = require("@tensorflow/tfjs");
const { load } = require("nsfwjs");

console.info = () => {};
tf.enableProdMode();
await tf.setBackend("cpu");
const model = await load("MobileNetV2");
const found = {};
for (const [name, shape] of Object.entries(JSON.parse(readFileSync(`${folder}/pictures.json`)))) {
  const pixels = tf.tensor3d(new Uint8Array(readFileSync(`${folder}/${name}.raw`)), shape, "int32");
  const classes = await model.classify(pixels, 5);
  found[name] = Object.fromEntries(classes.map((c) => [c.className.toLowerCase(), c.probability]));
}
console.log(JSON.stringify(found));
