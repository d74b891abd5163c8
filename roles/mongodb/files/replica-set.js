// Initiates a replica set and makes its users; run by mongosh on the first member:
//   mongosh --nodb --norc --quiet --file replica-set.js  < settings.json
// The settings hold passwords, so they come on stdin: not in argv, the environment
// or a file. Prints {"changes": [...]}; run again, there are none.
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

const here = new Mongo(loopback).getDB('admin');
const found = here.runCommand({ hello: 1 }).setName;
if (found && found !== settings.replica_set) {
  throw new Error(`this server belongs to the replica set ${found}, not to ${settings.replica_set}`);
}
if (!found) {
  const members = settings.members.map((host, _id) => ({ _id, host }));
  const result = here.runCommand({ replSetInitiate: { _id: settings.replica_set, members } });
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
print(JSON.stringify({ changes }));
