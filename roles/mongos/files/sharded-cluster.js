// Adds shards to a sharded cluster, spreads collections and removes shards; run by mongosh at one router:
//   mongosh --nodb --norc --quiet --file sharded-cluster.js  < settings.json
// The settings hold a password, so they come on stdin. Prints {"changes": [...], "draining": [...], "extra": [...]};
// run again, there are no changes. `draining` are shards that are being emptied, with what is still on them; `extra`
// are shards that are not in the settings and stay until `remove_shards` is said.
//
// Without `spread` only the first shard is added, which was the whole database before: from the second one on, whoever
// still speaks to the first directly is refused, so applications have to use routers by then
// (https://jira.mongodb.org/browse/DOCS-16699).
/* global Mongo, print */
const settings = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const changes = [];
const draining = [];
const AUTHENTICATION_FAILED = 18;

const wanted = new Map(settings.shards.map((seeds) => [seeds.split('/')[0], seeds]));
if (!wanted.has(settings.first_shard)) {
  throw new Error(`the settings do not name the first shard, ${settings.first_shard}: nothing was done`);
}

const admin = new Mongo(`mongodb://127.0.0.1:${settings.port}/?directConnection=true`).getDB('admin');
try {
  admin.auth(settings.admin_user.name, settings.admin_user.password);
} catch (error) {
  if (error.code !== AUTHENTICATION_FAILED) throw error;
  throw new Error(`the cluster refuses the login of ${settings.admin_user.name}: its users are made on the config servers`);
}

/** The answer to a command; a failure names the command and what it was about. */
function ask(document, database = admin) {
  const [[name, about]] = Object.entries(document);
  const told = (reason) => new Error(`${name} ${typeof about === 'string' ? about : ''}: ${reason}`);
  let answer;
  try {
    answer = database.runCommand(document);
  } catch (error) {
    throw told(error.message);
  }
  if (!answer.ok) throw told(answer.errmsg);
  return answer;
}

const shardsNow = () => ask({ listShards: 1 }).shards;
const known = new Set(shardsNow().map(({ _id }) => _id));
// The first one brings the data, so it comes first; the name is said, so that it is the set's in every version.
const others = [...wanted.keys()].filter((name) => name !== settings.first_shard);
for (const name of [settings.first_shard, ...(settings.spread ? others : [])]) {
  if (known.has(name)) continue;
  ask({ addShard: wanted.get(name), name });
  changes.push(`added shard ${name}`);
}

/** A comparable text of a shard key, whose fields have an order. */
const text = (key) => JSON.stringify(Object.entries(key).map(([field, how]) => [field, how === 'hashed' ? how : Number(how)]));

const config = admin.getSiblingDB('config');
for (const { name, key, unique = false } of settings.spread ? settings.collections : []) {
  const namespace = `${settings.database}.${name}`;
  const [found] = ask({ find: 'collections', filter: { _id: namespace } }, config).cursor.firstBatch;
  // `unsplittable` is one that lies on one shard, and that the cluster knows since it was moved there (from 8.0 on).
  if (!found || found.unsplittable) {
    ask({ shardCollection: namespace, key, unique });
    changes.push(`spread ${namespace}`);
  } else if (text(found.key) !== text(key) || Boolean(found.unique) !== unique) {
    throw new Error(
      `${namespace} has the shard key ${text(found.key)}${found.unique ? ' (unique)' : ''} and not ${text(key)}`
      + `${unique ? ' (unique)' : ''}: another key moves all documents (reshardCollection), which is done by hand, or the`
      + ' app file is put right',
    );
  }
}

const shards = shardsNow();
const leaving = shards.filter(({ _id }) => !wanted.has(_id)).map(({ _id }) => _id);
const extra = [];
for (const name of settings.spread ? leaving : []) {
  if (!settings.remove_shards) {
    extra.push(name);
    continue;
  }
  if (!shards.some(({ _id, draining: leaves }) => wanted.has(_id) && !leaves)) {
    throw new Error(`${name} is the last shard that stays, and is not removed`);
  }
  // Asked again it tells how far it is, and removes the shard when it is empty. Deprecated from 8.3 on.
  const { state, remaining = {}, dbsToMove = [], collectionsToMove = [] } = ask({ removeShard: name });
  if (state === 'completed') {
    changes.push(`removed shard ${name}`);
    continue;
  }
  if (state === 'started') changes.push(`draining shard ${name}`);
  draining.push({
    shard: name,
    state,
    chunks: Number(remaining.chunks ?? -1),
    // Nobody moves these by himself: movePrimary and moveCollection.
    databases_to_move: dbsToMove,
    collections_to_move: collectionsToMove,
  });
}
// Begun by an earlier run, or by hand, and not asked about by this one.
for (const { _id: name, draining: leaves } of shards) {
  if (leaves && !(settings.spread && settings.remove_shards && leaving.includes(name))) {
    draining.push({ shard: name, state: wanted.has(name) ? 'leaving, though the settings name it' : 'leaving' });
  }
}
print(JSON.stringify({ changes, draining, extra }));
