// The load of benchmarks.peers for k6: one case of CASE at URL, by VUS users or at RATE a second.
import http from "k6/http";
import { check, sleep } from "k6";

const url = __ENV.URL, name = __ENV.CASE, think = parseFloat(__ENV.THINK_S || "0");
const users = parseInt(__ENV.USERS), rate = parseInt(__ENV.RATE || "0"), duration = `${__ENV.SECONDS}s`;
const needsBody = name === "json" || name === "post";

export const options = {
  discardResponseBodies: !needsBody,
  summaryTrendStats: ["med", "p(90)", "p(95)", "p(99)", "max"],
  // Tags and metrics that nobody reads here cost k6 time.
  systemTags: ["status", "error_code", "scenario"],
  scenarios: {
    load: rate
      ? { executor: "constant-arrival-rate", rate, timeUnit: "1s", duration, preAllocatedVUs: users, maxVUs: users, gracefulStop: "5s" }
      : { executor: "constant-vus", vus: users, duration, gracefulStop: "2s" },
  },
};

let item = 0;
const headers = { headers: { "Content-Type": "application/json" } };

export default function () {
  if (name === "json") {
    const answer = http.get(url);
    check(answer, { "eight items": (r) => { const found = r.json(); return found.total === 8 && found.items[7].id === 8; } });
  } else if (name === "post") {
    item += 1;
    const answer = http.post(url, JSON.stringify({ item: item, quantity: 2, note: "by the door" }), headers);
    check(answer, { ok: (r) => r.status === 200 });
  } else {
    http.get(url);
  }
  if (think) sleep(think);
}
