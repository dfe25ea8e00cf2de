// Opens a page in Chromium through its DevTools protocol, and prints as JSON what
// "expression" gives there and the addresses that were asked for meanwhile.
// Usage: node browse.mjs CHROMIUM PROFILE ADDRESS EXPRESSION
import { spawn } from "node:child_process";

const [, , program, profile, address, expression] = process.argv;
const browser = spawn(program, [
  "--headless", "--no-sandbox", "--disable-gpu", "--no-zygote", "--no-first-run",
  "--disable-background-networking", "--disable-component-update",
  "--host-resolver-rules=MAP * ~NOTFOUND", "--remote-debugging-port=0",
  `--user-data-dir=${profile}`, "about:blank",
]);
process.on("exit", () => browser.kill("SIGKILL"));
setTimeout(() => { console.error("the browser does not answer"); process.exit(1); }, 30_000);

const endpoint = await new Promise((resolve) => {
  let text = "";
  browser.stderr.on("data", (chunk) => {
    text += chunk;
    const found = text.match(/ws:\/\/\S+/);
    if (found) resolve(found[0]);
  });
});
const pages = await (await fetch(`http://${new URL(endpoint).host}/json/list`)).json();
const socket = new WebSocket(pages.find((page) => page.type === "page").webSocketDebuggerUrl);
await new Promise((resolve) => { socket.onopen = resolve; });

const requests = [], problems = [], waiting = new Map();
let loaded, count = 0;
const load = new Promise((resolve) => { loaded = resolve; });
socket.onmessage = ({ data }) => {
  const { id, method, params, result } = JSON.parse(data);
  if (id) waiting.get(id)(result);
  if (method === "Network.requestWillBeSent") requests.push(params.request.url);
  if (method === "Log.entryAdded") problems.push(params.entry.text);
  if (method === "Runtime.exceptionThrown") problems.push(params.exceptionDetails.text);
  if (method === "Page.loadEventFired") loaded();
};
function send(method, params = {}) {
  count += 1;
  socket.send(JSON.stringify({ id: count, method, params }));
  return new Promise((resolve) => { waiting.set(count, resolve); });
}
for (const domain of ["Page", "Network", "Log", "Runtime"]) await send(`${domain}.enable`);
await send("Page.navigate", { url: address });
await load;
// what a page asks for after it has been loaded counts as well
await new Promise((resolve) => { setTimeout(resolve, 500); });
const { result } = await send("Runtime.evaluate", { expression, returnByValue: true });
console.log(JSON.stringify({ value: result.value, requests, problems }));
process.exit(0);
