package main

import (
	"bytes"
	"database/sql"
	"fmt"
	"net/url"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// oplog answers from the file of the database local, beside the database, what the database reads all entries for.
//
// FerretDB 1.24 decodes a whole collection and sorts it in memory for {$natural: -1} (handler/msg_find.go), and
// the oplog grows with each write. The names in the file are those of its backends/sqlite/metadata.
type oplog struct{ file *sql.DB }

// openOplog opens the file at the first question, when the database has made it.
func openOplog(data string) (*oplog, error) {
	file, err := sql.Open("sqlite", "file:"+url.PathEscape(data+"/local.sqlite")+"?mode=ro&_pragma=busy_timeout(10000)")
	return &oplog{file}, err
}

// newest answers a find for the times of the newest entries; nil when that is not what the request is.
func (o *oplog) newest(request []byte) []byte {
	if !bytes.Contains(request, []byte("$natural")) {
		return nil
	}
	asked := parse(request)
	command, err := asked.command()
	if err != nil {
		return nil
	}
	limit := newestAsked(command)
	if limit == 0 {
		return nil
	}
	entries, err := o.times(limit)
	if err != nil {
		return nil // the database says what is wrong
	}
	var out bytes.Buffer
	cursor := bson.D{{Key: "firstBatch", Value: entries}, {Key: "id", Value: int64(0)}, {Key: "ns", Value: "local.oplog.rs"}}
	if err := asked.answer(&out, bson.D{{Key: "cursor", Value: cursor}, {Key: "ok", Value: 1.0}}); err != nil {
		return nil
	}
	return out.Bytes()
}

// newestAsked is of how many of the newest entries a find asks for the times, and for nothing else; 0 for another command.
func newestAsked(command bson.D) int64 {
	filter, _ := lookup(command, "filter").(bson.D)
	switch {
	case lookup(command, "find") != "oplog.rs" || lookup(command, "$db") != "local",
		len(filter) > 0 || lookup(command, "skip") != nil,
		!only(lookup(command, "sort"), "$natural", -1) || !only(lookup(command, "projection"), "ts", 1):
		return 0
	}
	return max(whole(lookup(command, "limit")), 0)
}

// times are ids and times of the newest entries, the last one first.
func (o *oplog) times(limit int64) (bson.A, error) {
	var table string
	err := o.file.QueryRow("SELECT table_name FROM _ferretdb_collections WHERE name = 'oplog.rs'").Scan(&table)
	if err != nil {
		return nil, err
	}
	rows, err := o.file.Query(fmt.Sprintf(
		`SELECT _ferretdb_sjson->>'_id', _ferretdb_sjson->>'ts' FROM %q ORDER BY _ferretdb_record_id DESC LIMIT ?`, table,
	), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	entries := bson.A{}
	for rows.Next() {
		var id string
		var ts uint64
		if err := rows.Scan(&id, &ts); err != nil {
			return nil, err
		}
		object, err := bson.ObjectIDFromHex(id)
		if err != nil {
			return nil, err
		}
		time := bson.Timestamp{T: uint32(ts >> 32), I: uint32(ts)}
		entries = append(entries, bson.D{{Key: "_id", Value: object}, {Key: "ts", Value: time}})
	}
	return entries, rows.Err()
}

// only says whether a document has this key with this number, and no other key.
func only(value any, key string, number int64) bool {
	document, _ := value.(bson.D)
	return len(document) == 1 && document[0].Key == key && whole(document[0].Value) == number
}

// whole is a number as drivers write whole ones; 0 for anything else.
func whole(value any) int64 {
	switch n := value.(type) {
	case int32:
		return int64(n)
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}
