// Restarts this member of a replica set; run by mongosh on one member after the other:
//   mongosh --nodb --norc --quiet --file restart-member.js  < settings.json
// Before, it waits until the other voting members are enough for a majority without this one, so that a fault that
// a restart brings stays on one member; afterwards, until this one serves again. A primary that is told to end hands
// over first (MongoDB manual, "shutdown"). One that does not serve is only restarted. Nothing here needs a login.
/* global Mongo, sleep */
const settings = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const systemctl = (...words) => require('child_process').execFileSync('systemctl', words, { stdio: ['ignore', 'ignore', 'inherit'] });

/** What a server says of itself; nothing when it does not answer. */
function hello(host) {
  try {
    const uri = `mongodb://${host}/?directConnection=true&serverSelectionTimeoutMS=3000`;
    return new Mongo(uri).getDB('admin').runCommand({ hello: 1 });
  } catch {
    return {};
  }
}

const serves = ({ secondary, isWritablePrimary }) => Boolean(secondary || isWritablePrimary);
const here = `127.0.0.1:${settings.port}`;

const before = hello(here);
const voters = before.hosts ?? [];
const others = voters.filter((host) => host !== before.me);
const majority = Math.floor(voters.length / 2) + 1;
// A set of one or two has no majority without this one: a pause is its price.
const needed = serves(before) && others.length >= majority ? majority : 0;
const enough = () => {
  let count = 0;
  for (const host of others) if (serves(hello(host))) count += 1;
  return count >= needed;
};

function waitFor(done, complaint) {
  const deadline = Date.now() + settings.timeout_seconds * 1000;
  while (!done()) {
    if (Date.now() > deadline) throw new Error(`${complaint} within ${settings.timeout_seconds} s`);
    sleep(500);
  }
}

waitFor(enough, `not restarted: without ${before.me} the set has no majority, and ${others.join(', ')} did not all serve`);
systemctl('daemon-reload');
systemctl('restart', 'mongod');
if (serves(before)) {
  waitFor(() => serves(hello(here)), `${before.me} did not serve again; see journalctl --unit mongod`);
}
