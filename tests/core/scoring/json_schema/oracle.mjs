// Verdicts of @cfworker/json-schema, as OpenRouter's published page calls it: new Validator(schema, '7').validate(value).
// Reads lines {"schema": ..., "arguments": ["...", ...]}; writes for each a word of V (valid), I (invalid), J (no JSON),
// T (throws) per entry.
import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const { Validator } = createRequire(process.argv[2])("@cfworker/json-schema");

function verdict(validator, text) {
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    return "J";
  }
  try {
    return validator.validate(value).valid ? "V" : "I";
  } catch {
    return "T";
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  let validator;
  try {
    validator = new Validator(asked.schema, "7");
  } catch {
    validator = { validate: () => { throw new Error("does not compile"); } };
  }
  console.log(asked.arguments.map((text) => verdict(validator, text)).join(""));
}
