// Initiates a replica set, makes its users, and adds and removes members; run by mongosh on the first member:
//   mongosh --nodb --norc --quiet --file replica-set.js  < settings.json
// The settings hold passwords, so they come on stdin: not in argv, the environment
// or a file. Prints {"changes": [...], "waiting": [...], "extra": [...]}; run again, there are no changes.
// `waiting` are members that have no vote yet, since they do not have the data; `extra` are members that
// are not in the settings and stay until `remove_members` is said.
//
// A new member gets its vote when it is a secondary: before, it would count for the majority and could not
// help it. And a reconfiguration changes one vote at most (MongoDB manual, "replSetReconfig", "Add Members to
// a Self-Managed Replica Set").
//
// The order matters: with authorization on and no user yet, the server lets a
// client on loopback initiate the set and make the first user, and nothing else
// (MongoDB manual, "Localhost Exception").
/* global Mongo, print, sleep */
const settings = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const changes = [];
const AUTHENTICATION_FAILED = 18;

const loopback = `mongodb://127.0.0.1:${settings.port}/?directConnection=true`;
const wholeSet = `mongodb://${settings.members.join(',')}/?replicaSet=${settings.replica_set}`;

/** The database admin of a new connection, logged in; null when the login is refused. */
function login(uri, name, password) {
  const admin = new Mongo(uri).getDB('admin');
  try {
    admin.auth(name, password);
  } catch (error) {
    if (error.code === AUTHENTICATION_FAILED) return null;
    throw error;
  }
  return admin;
}

/** A comparable text of roles, without regard to their order. */
function text(roles) {
  return JSON.stringify(roles.map(({ db, role }) => `${db}.${role}`).sort());
}

/** The replica set that a server belongs to; "" when there is none, or it cannot be asked. */
function setOf(host) {
  try {
    const uri = `mongodb://${host}/?directConnection=true&serverSelectionTimeoutMS=3000`;
    return new Mongo(uri).getDB('admin').runCommand({ hello: 1 }).setName ?? '';
  } catch {
    return '';
  }
}

const here = new Mongo(loopback).getDB('admin');
const found = here.runCommand({ hello: 1 }).setName;
if (found && found !== settings.replica_set) {
  throw new Error(`this server belongs to the replica set ${found}, not to ${settings.replica_set}`);
}
if (!found) {
  const founder = settings.members.find((host) => setOf(host) === settings.replica_set);
  if (founder) {
    throw new Error(`${settings.replica_set} runs on ${founder} already: name new members after it, not before`);
  }
  const members = settings.members.map((host, _id) => ({ _id, host }));
  const configsvr = settings.cluster_role === 'configsvr' ? { configsvr: true } : {};
  const result = here.runCommand({ replSetInitiate: { _id: settings.replica_set, ...configsvr, members } });
  if (!result.ok) throw new Error(`replSetInitiate: ${result.errmsg}`);
  changes.push(`initiated ${settings.replica_set}`);
}

const deadline = Date.now() + settings.timeout_seconds * 1000;
let hello = here.runCommand({ hello: 1 });
while (!hello.isWritablePrimary && !hello.primary) {
  if (Date.now() > deadline) {
    throw new Error(`no primary after ${settings.timeout_seconds} s; do the members reach each other: ${settings.members}?`);
  }
  sleep(500);
  hello = here.runCommand({ hello: 1 });
}
const uri = hello.isWritablePrimary ? loopback : wholeSet;

const { admin_user: first, users } = settings;
let admin = login(uri, first.name, first.password);
if (!admin) {
  // Refused by the server itself when there is a user already.
  here.createUser({ user: first.name, pwd: first.password, roles: [{ db: 'admin', role: 'root' }] });
  changes.push(`created ${first.name}`);
  admin = login(uri, first.name, first.password);
}
for (const { name, password, roles } of users) {
  const known = admin.getUser(name);
  if (!known) {
    admin.createUser({ user: name, pwd: password, roles });
    changes.push(`created ${name}`);
    continue;
  }
  if (text(known.roles) !== text(roles)) {
    admin.updateUser(name, { roles });
    changes.push(`roles of ${name}`);
  }
  if (!login(uri, name, password)) {
    admin.updateUser(name, { pwd: password });
    changes.push(`password of ${name}`);
  }
}

/** The set's configuration with one change; the server refuses it when a majority does not take it. */
function reconfigure(change) {
  const { config } = admin.runCommand({ replSetGetConfig: 1 });
  change(config);
  config.version += 1;
  const result = admin.runCommand({ replSetReconfig: config, maxTimeMS: settings.timeout_seconds * 1000 });
  if (!result.ok) throw new Error(`replSetReconfig: ${result.errmsg}`);
}

const membersNow = () => admin.runCommand({ replSetGetConfig: 1 }).config.members;
for (const host of settings.members) {
  if (membersNow().some((member) => member.host === host)) continue;
  reconfigure(({ members }) => {
    members.push({ _id: Math.max(...members.map(({ _id }) => _id)) + 1, host, priority: 0, votes: 0 });
  });
  changes.push(`added ${host}, which votes when it has the data`);
}

const waiting = [];
const states = new Map(admin.runCommand({ replSetGetStatus: 1 }).members.map(({ name, stateStr }) => [name, stateStr]));
// One that is hidden or delayed has no vote for a reason of its own.
const mute = ({ host, votes, hidden, secondaryDelaySecs }) =>
  settings.members.includes(host) && votes === 0 && !hidden && !Number(secondaryDelaySecs ?? 0);
for (const { host } of membersNow().filter(mute)) {
  if (states.get(host) !== 'SECONDARY') {
    waiting.push(host);
    continue;
  }
  reconfigure(({ members }) => Object.assign(members.find((member) => member.host === host), { priority: 1, votes: 1 }));
  changes.push(`${host} votes`);
}

const extra = membersNow().map(({ host }) => host).filter((host) => !settings.members.includes(host));
if (settings.remove_members) {
  // Not before the others can do without: what is new has no vote yet.
  if (extra.length > 0 && waiting.length > 0) {
    throw new Error(`${waiting.join(', ')} has no vote yet: remove ${extra.join(', ')} when it has the data`);
  }
  for (const host of extra.splice(0)) {
    if (admin.runCommand({ hello: 1 }).primary === host) {
      throw new Error(`${host} is the primary: step it down first (rs.stepDown()), then run this again`);
    }
    reconfigure((config) => {
      config.members = config.members.filter((member) => member.host !== host);
    });
    changes.push(`removed ${host}`);
  }
}
print(JSON.stringify({ changes, waiting, extra }));
