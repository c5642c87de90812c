// Requests to the service. Two kinds of failure: nobody answered, or the service said no.

export class NoAnswer extends Error {}

export class Refused extends Error {
  constructor(status, error) {
    super(error?.message ?? `${status}`);
    this.status = status;
    this.code = error?.code ?? "";
    this.details = error?.details ?? {};
  }
}

const TIMEOUT_MS = 20_000;

// The JSON answer of the service, or null for an empty one.
// Throws NoAnswer when the network or the service is away, Refused for an answer from 400 up.
export async function call(method, url, body, { keepalive = false } = {}) {
  let response;
  let data;
  try {
    response = await fetch(url, {
      method,
      keepalive,
      headers: body === undefined ? {} : { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const text = await response.text();
    data = text ? JSON.parse(text) : null;
  } catch (error) {
    throw new NoAnswer(String(error));
  }
  // A full or restarting service counts as away: what was asked is still wanted.
  if (response.status >= 500 || response.status === 429) throw new NoAnswer(`${response.status}`);
  if (!response.ok) throw new Refused(response.status, data?.error);
  return data;
}
