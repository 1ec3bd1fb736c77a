// Asks through the AI SDK, as the JSON on standard input says, and prints what the program gets: one line an answer.
//
// Input: {cache, url, key, asks: [{surface, model, prompt, stream, tools}]}.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

globalThis.AI_SDK_LOG_WARNINGS = false;

const wanted = JSON.parse(readFileSync(0, "utf8"));
const below = createRequire(`${wanted.cache}/package.json`);
const load = (name) => import(pathToFileURL(below.resolve(name)));

const { generateText, stepCountIs, streamText, tool } = await load("ai");
const { z } = await load("zod");
const { createOpenAICompatible } = await load("@ai-sdk/openai-compatible");
const { createOpenAI } = await load("@ai-sdk/openai");
const { createAnthropic } = await load("@ai-sdk/anthropic");

const at = { baseURL: `${wanted.url}/v1`, apiKey: wanted.key };
const compatible = createOpenAICompatible({ name: "loopback", includeUsage: true, ...at });
const models = {
  chat: (name) => compatible.chatModel(name),
  text: (name) => compatible.completionModel(name),
  responses: (name) => createOpenAI(at).responses(name),
  "openai-chat": (name) => createOpenAI(at).chat(name),
  messages: (name) => createAnthropic(at)(name),
};
const tools = {
  Bash: tool({
    description: "Run a command",
    inputSchema: z.object({ command: z.string(), description: z.string() }),
    execute: async ({ command }) => `ran ${command}`,
  }),
  TaskCreate: tool({
    description: "Note a task",
    inputSchema: z.object({ subject: z.string(), description: z.string() }),
    execute: async () => "noted",
  }),
  TaskList: tool({ description: "List the tasks", inputSchema: z.object({}), execute: async () => "none" }),
};

for (const ask of wanted.asks) {
  const errors = [];
  const request = {
    model: models[ask.surface](ask.model),
    prompt: ask.prompt,
    maxRetries: 0,
    stopWhen: stepCountIs(12),
    ...(ask.tools ? { tools } : {}),
  };
  const parts = [];
  try {
    if (ask.stream) {
      const answer = streamText({ ...request, onError: ({ error }) => errors.push(String(error)) });
      for await (const part of answer.fullStream) parts.push(part);
    } else {
      const answer = await generateText(request);
      for (const step of answer.steps) {
        parts.push({ finishReason: step.finishReason, usage: step.usage, content: step.content });
      }
    }
  } catch (error) {
    errors.push(String(error));
  }
  process.stdout.write(`${JSON.stringify({ ...ask, parts, errors })}\n`);
}
