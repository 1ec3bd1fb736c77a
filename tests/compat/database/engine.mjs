// Prisma's query engine of 5.17 (WebAssembly), served over HTTP as the engine's own program is: `engine.mjs -p PORT`.
//
// The Python client sends GraphQL; the WebAssembly build reads Prisma's JSON protocol, so one is written as the other.
// PRISMA_DML_PATH names the schema; the URL of the database is in DATABASE_URL or OVERWRITE_DATASOURCES.

import fs from "node:fs";
import http from "node:http";
import { PrismaPg } from "@prisma/adapter-pg";
import { bindAdapter } from "@prisma/driver-adapter-utils";
import { parse } from "graphql";
import pg from "pg";

const ACTIONS = ["findUniqueOrThrow", "findUnique", "findFirstOrThrow", "findFirst", "findMany", "createOne",
  "createMany", "updateOne", "updateMany", "deleteOne", "deleteMany", "upsertOne", "aggregate", "groupBy", "queryRaw",
  "executeRaw"];
const FIELD = new RegExp(`^(${ACTIONS.join("|")})(.*)$`);
const OF_JSON = ["equals", "not", "set", "array_contains"];
const LOOK_MS = 2000;

// --- the engine ------------------------------------------------------------------------------------------------------

const schema = fs.readFileSync(process.env.PRISMA_DML_PATH, "utf8");
const generator = 'generator client {\n provider = "prisma-client-js"\n previewFeatures = ["driverAdapters"]\n}';
const datamodel = schema.replace(/generator client \{[^}]*\}/, generator);
const jsonFields = new Set([...schema.matchAll(/^\s*(\w+)\s+Json\??(\s|$)/gm)].map((found) => found[1]));

function pool() {
  const overwritten = JSON.parse(process.env.OVERWRITE_DATASOURCES || "[]").find((one) => one.url);
  const url = new URL(overwritten ? overwritten.url : process.env.DATABASE_URL);
  url.search = ""; // Prisma's own parameters
  const made = new pg.Pool({ connectionString: url.toString(), max: 10 });
  made.on("error", () => {}); // of an idle connection; the next query makes another one
  return made;
}

async function connected() {
  const folder = new URL("./node_modules/@prisma/query-engine-wasm/postgresql/", import.meta.url);
  const glue = await import(new URL("query_engine_bg.js", folder));
  const code = new WebAssembly.Module(fs.readFileSync(new URL("query_engine_bg.wasm", folder)));
  const instance = new WebAssembly.Instance(code, { "./query_engine_bg.js": glue });
  glue.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start?.();
  const options = { datamodel, logLevel: "error", logQueries: false };
  const made = new glue.QueryEngine(options, () => {}, bindAdapter(new PrismaPg(pool())));
  await made.connect("{}");
  return made;
}

// --- GraphQL to the JSON protocol and back ---------------------------------------------------------------------------

const entries = (fields, read) => Object.fromEntries(fields.map((one) => [one.name.value, read(one)]));

function json(node) {
  if (node.kind === "StringValue") return { $type: "Json", value: node.value };
  if (node.kind !== "ObjectValue") return value(node);
  return entries(node.fields, (one) => (OF_JSON.includes(one.name.value) ? json(one.value) : value(one.value)));
}

function value(node) {
  switch (node.kind) {
    case "NullValue": return null;
    case "IntValue": {
      const number = Number(node.value);
      return Number.isSafeInteger(number) ? number : { $type: "BigInt", value: node.value };
    }
    case "FloatValue": return Number(node.value);
    case "ListValue": return node.values.map(value);
    case "ObjectValue":
      return entries(node.fields, (one) => (jsonFields.has(one.name.value) ? json : value)(one.value));
    default: return node.value;
  }
}

const given = (field) => entries(field.arguments, (one) => value(one.value));
const selected = (field) =>
  entries(field.selectionSet.selections, (one) =>
    one.selectionSet ? { arguments: given(one), selection: selected(one) } : true);

function translated(text) {
  const field = parse(text).definitions[0].selectionSet.selections[0];
  const [, action, modelName] = FIELD.exec(field.name.value);
  const query = { arguments: given(field), selection: field.selectionSet ? selected(field) : {} };
  return { key: (field.alias || field.name).value, asked: { action, query, ...(modelName ? { modelName } : {}) } };
}

function plain(found) {
  if (Array.isArray(found)) return found.map(plain);
  if (found === null || typeof found !== "object") return found;
  if ("$type" in found) return found.$type === "BigInt" ? Number(found.value) : found.value;
  return Object.fromEntries(Object.entries(found).map(([name, one]) => [name, plain(one)]));
}

const under = (key, told) => (told.data ? { ...told, data: { [key]: plain(Object.values(told.data)[0]) } } : told);

async function answered(body, transaction) {
  const { batch, query, transaction: together } = JSON.parse(body);
  const ask = async (asked) => JSON.parse(await engine.query(JSON.stringify(asked), "{}", transaction));
  if (!batch) {
    const { key, asked } = translated(query);
    return under(key, await ask(asked));
  }
  const parts = batch.map((one) => translated(one.query));
  const told = await ask({ batch: parts.map((one) => one.asked), ...(together ? { transaction: {} } : {}) });
  if (told.batchResult) told.batchResult = told.batchResult.map((one, number) => under(parts[number].key, one));
  return told;
}

// --- HTTP ------------------------------------------------------------------------------------------------------------

async function served(path, body, transaction) {
  const step = /^\/transaction\/(?:(start)|([^/]+)\/(commit|rollback))$/.exec(path);
  if (path === "/") return answered(body, transaction);
  if (step?.[1]) return JSON.parse(await engine.startTransaction(body, "{}"));
  if (step) return JSON.parse((await engine[`${step[3]}Transaction`](step[2], "{}")) || "{}");
  return { status: "ok" };
}

function fault(error) {
  const message = String(error.message || error);
  return { errors: [{ error: message, user_facing_error: { is_panic: false, message, error_code: "P2010", meta: {} } }] };
}

const engine = await connected();
const server = http.createServer(async (request, response) => {
  let body = "";
  for await (const piece of request) body += piece;
  const told = await served(request.url, body, request.headers["x-transaction-id"]).catch(fault);
  response.writeHead(200, { "content-type": "application/json" });
  response.end(JSON.stringify(told));
});
server.listen(Number(process.argv[process.argv.indexOf("-p") + 1]), "localhost");
for (const name of ["SIGINT", "SIGTERM"]) process.on(name, () => process.exit(0));
// It ends with the proxy that started it.
setInterval(() => process.ppid === 1 && process.exit(0), LOOK_MS).unref();
