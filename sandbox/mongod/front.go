package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/xdg-go/scram"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// Numbers of the wire protocol (MongoDB manual, "MongoDB Wire Protocol").
const (
	headerBytes     = 16
	maxMessageBytes = 48_000_000
	opReply         = 1
	opQuery         = 2004
	opMsg           = 2013
	flagChecksum    = 1
	flagMoreToCome  = 2
)

// Codes of the server's error_codes.yml.
const (
	codeUnauthorized         = 13
	codeAuthenticationFailed = 18
)

// beforeLogin are the commands that a server answers to anybody.
var beforeLogin = []string{"hello", "isMaster", "ismaster", "ping", "buildInfo", "buildinfo", "logout", "endSessions"}

// front is the TCP side: it lets a connection reach the database once it has
// logged in.
type front struct {
	socket   string
	accounts *accounts
	oplog    *oplog
	log      *slog.Logger
	writing  sync.Mutex
}

// writes are the commands that change documents. They are carried out one by one: the database
// lets two findAndModify at once take the same document, which a real server does not.
var writes = []string{"insert", "update", "delete", "findAndModify", "findandmodify"}

// batch is the number of statements that a client may put into one write. The database keeps a
// connection to its file for each statement of an update until all are done, and has 100 of them
// (FerretDB 1.24, handler/msg_update.go): the next one would wait for ever. Drivers ask hello for it.
const batch = 50

// hellos are the names of the question with which a driver begins.
var hellos = []string{"hello", "isMaster", "ismaster"}

// serve accepts connections until ctx ends.
func (f *front) serve(ctx context.Context, l net.Listener) {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			f.log.Warn("accept", "error", err)
			time.Sleep(50 * time.Millisecond) // out of file descriptors: wait for some to be freed
			continue
		}
		go func() {
			if err := f.handle(ctx, conn); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				f.log.Warn("connection", "peer", conn.RemoteAddr().String(), "error", err)
			}
		}()
	}
}

// handle serves one connection until either side closes it.
func (f *front) handle(ctx context.Context, client net.Conn) error {
	defer client.Close()
	var dialer net.Dialer
	db, err := dialer.DialContext(ctx, "unix", f.socket)
	if err != nil {
		return err
	}
	defer db.Close()
	stop := context.AfterFunc(ctx, func() { client.Close(); db.Close() })
	defer stop()

	// One reader for each side: what it has buffered at the end of the login
	// belongs to the stream that follows.
	fromClient, fromDB := bufio.NewReader(client), bufio.NewReader(db)
	if f.accounts != nil {
		if err := f.login(client, fromClient, db, fromDB); err != nil {
			return err
		}
	}
	for {
		request, err := readRaw(fromClient)
		if err != nil {
			return err
		}
		if err := f.relay(request, client, db, fromDB); err != nil {
			return err
		}
	}
}

// relay passes one request on, and what the database answers.
func (f *front) relay(request []byte, client, db io.Writer, fromDB io.Reader) error {
	answer, err := f.first(request, db, fromDB)
	for err == nil && answer != nil {
		if _, err = client.Write(answer); err != nil || !moreToCome(answer) {
			return err
		}
		answer, err = readRaw(fromDB)
	}
	return err
}

// first returns the first message of the answer; nil when none is asked for.
func (f *front) first(request []byte, db io.Writer, fromDB io.Reader) ([]byte, error) {
	name := commandName(request)
	if slices.Contains(writes, name) {
		f.writing.Lock()
		defer f.writing.Unlock()
	}
	if name == "find" {
		if answer := f.oplog.newest(request); answer != nil {
			return answer, nil
		}
	}
	if _, err := db.Write(request); err != nil || moreToCome(request) {
		return nil, err
	}
	answer, err := readRaw(fromDB)
	// Nothing but a hello is asked by OP_QUERY any more.
	if err == nil && (opCodeOf(request) == opQuery || slices.Contains(hellos, name)) {
		return withBatch(request, answer)
	}
	return answer, err
}

// withBatch is the answer to a hello with our size of a batch.
func withBatch(request, answer []byte) ([]byte, error) {
	document, err := parse(answer).command()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = parse(request).answer(&out, setBatch(document))
	return out.Bytes(), err
}

// setBatch puts the size of a batch into the answer to a hello.
func setBatch(hello bson.D) bson.D {
	for i := range hello {
		if hello[i].Key == "maxWriteBatchSize" {
			hello[i].Value = int32(batch)
		}
	}
	return hello
}

// login answers a connection until it has proven a password.
func (f *front) login(client io.Writer, fromClient io.Reader, db io.Writer, fromDB io.Reader) error {
	var conversation *scram.ServerConversation
	var skipEmpty bool
	for {
		request, err := readMessage(fromClient)
		if err != nil {
			return err
		}
		command, err := request.command()
		if err != nil {
			return err
		}
		name := command[0].Key
		switch {
		case name == "saslStart":
			var reply bson.D
			conversation, skipEmpty, reply = f.start(command)
			if err := request.answer(client, reply); err != nil {
				return err
			}
		case name == "saslContinue":
			reply, done := proceed(conversation, skipEmpty, command)
			if err := request.answer(client, reply); err != nil || done {
				return err
			}
		case slices.Contains(beforeLogin, name):
			if err := forward(request, command, client, db, fromDB); err != nil {
				return err
			}
		default:
			reply := failure(codeUnauthorized, "Unauthorized", fmt.Sprintf("Command %s requires authentication", name))
			if err := request.answer(client, reply); err != nil {
				return err
			}
		}
	}
}

// start begins a SCRAM exchange and returns it with the reply.
func (f *front) start(command bson.D) (*scram.ServerConversation, bool, bson.D) {
	mechanism, _ := lookup(command, "mechanism").(string)
	if mechanism != "SCRAM-SHA-256" {
		return nil, false, failure(codeAuthenticationFailed, "AuthenticationFailed",
			fmt.Sprintf("mechanism %q is not enabled; use SCRAM-SHA-256", mechanism))
	}
	if database, _ := lookup(command, "$db").(string); database != "admin" {
		return nil, false, failure(codeAuthenticationFailed, "AuthenticationFailed", "Authentication failed.")
	}
	skipEmpty := false
	if opts, ok := lookup(command, "options").(bson.D); ok {
		skipEmpty, _ = lookup(opts, "skipEmptyExchange").(bool)
	}
	conversation, err := f.accounts.conversation()
	if err != nil {
		return nil, false, failure(codeAuthenticationFailed, "AuthenticationFailed", "Authentication failed.")
	}
	payload, _ := lookup(command, "payload").(bson.Binary)
	text, err := conversation.Step(string(payload.Data))
	if err != nil {
		return nil, false, failure(codeAuthenticationFailed, "AuthenticationFailed", "Authentication failed.")
	}
	return conversation, skipEmpty, saslReply(text, false)
}

// proceed takes the next step; done says that the connection is logged in.
func proceed(conversation *scram.ServerConversation, skipEmpty bool, command bson.D) (bson.D, bool) {
	refused := failure(codeAuthenticationFailed, "AuthenticationFailed", "Authentication failed.")
	if conversation == nil {
		return refused, false
	}
	if conversation.Done() {
		if !conversation.Valid() {
			return refused, false
		}
		return saslReply("", true), true // the closing empty exchange
	}
	payload, _ := lookup(command, "payload").(bson.Binary)
	text, err := conversation.Step(string(payload.Data))
	if err != nil || !conversation.Valid() {
		return refused, false
	}
	return saslReply(text, skipEmpty), skipEmpty
}

// forward passes one request to the database and its reply back. The questions
// about logins in a hello are answered here: the database has none.
func forward(request *message, command bson.D, client, db io.Writer, fromDB io.Reader) error {
	asked := lookup(command, "saslSupportedMechs") != nil
	kept := slices.DeleteFunc(slices.Clone(command), func(e bson.E) bool {
		return e.Key == "saslSupportedMechs" || e.Key == "speculativeAuthenticate"
	})
	if err := request.rewrite(db, kept); err != nil {
		return err
	}
	reply, err := readMessage(fromDB)
	if err != nil {
		return err
	}
	document, err := reply.command()
	if err != nil {
		return err
	}
	document = slices.DeleteFunc(document, func(e bson.E) bool { return e.Key == "saslSupportedMechs" })
	if asked {
		document = append(document, bson.E{Key: "saslSupportedMechs", Value: bson.A{"SCRAM-SHA-256"}})
	}
	return request.answer(client, setBatch(document))
}

func saslReply(text string, done bool) bson.D {
	return bson.D{
		{Key: "conversationId", Value: int32(1)},
		{Key: "done", Value: done},
		{Key: "payload", Value: bson.Binary{Data: []byte(text)}},
		{Key: "ok", Value: 1.0},
	}
}

func failure(code int32, name, text string) bson.D {
	return bson.D{
		{Key: "ok", Value: 0.0},
		{Key: "errmsg", Value: text},
		{Key: "code", Value: code},
		{Key: "codeName", Value: name},
	}
}

// lookup returns the value of a key, or nil.
func lookup(document bson.D, key string) any {
	for _, e := range document {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

// message is one message of the wire protocol.
type message struct {
	id     int32
	opCode int32
	body   []byte // without the header
}

// readRaw reads one whole message with its header.
func readRaw(r io.Reader) ([]byte, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	length := int32(binary.LittleEndian.Uint32(header[0:]))
	if length < headerBytes || length > maxMessageBytes {
		return nil, fmt.Errorf("message length %d is out of range", length)
	}
	raw := make([]byte, length)
	copy(raw, header[:])
	_, err := io.ReadFull(r, raw[headerBytes:])
	return raw, err
}

// readMessage reads one whole message.
func readMessage(r io.Reader) (*message, error) {
	raw, err := readRaw(r)
	if err != nil {
		return nil, err
	}
	return parse(raw), nil
}

func parse(raw []byte) *message {
	return &message{
		id:     int32(binary.LittleEndian.Uint32(raw[4:])),
		opCode: opCodeOf(raw),
		body:   raw[headerBytes:],
	}
}

func opCodeOf(raw []byte) int32 { return int32(binary.LittleEndian.Uint32(raw[12:])) }

// moreToCome says that the message is not the last of its kind, or a request that wants no answer.
func moreToCome(raw []byte) bool {
	return opCodeOf(raw) == opMsg && len(raw) > headerBytes && raw[headerBytes]&flagMoreToCome != 0
}

// commandName is the first key of an OP_MSG that begins with its command; else it is empty.
func commandName(raw []byte) string {
	const start = headerBytes + 4 + 1 + 4 + 1 // flags, kind, length of the document, type of its first value
	if opCodeOf(raw) != opMsg || len(raw) <= start || raw[headerBytes+4] != 0 {
		return ""
	}
	end := slices.Index(raw[start:], 0)
	if end < 0 {
		return ""
	}
	return string(raw[start : start+end])
}

// command returns the document that the message carries; it has a key or more.
func (m *message) command() (bson.D, error) {
	var start int
	switch m.opCode {
	case opMsg:
		if len(m.body) < 5 || m.body[4] != 0 || m.body[0]&flagChecksum != 0 {
			return nil, errors.New("OP_MSG: read before the login only without checksum and with the command first")
		}
		start = 5
	case opQuery:
		end := slices.Index(m.body[min(4, len(m.body)):], 0) // of the collection's name
		if end < 0 {
			return nil, errors.New("OP_QUERY: truncated")
		}
		start = 4 + end + 1 + 8
	case opReply:
		start = 20
	default:
		return nil, fmt.Errorf("op code %d is not read before the login", m.opCode)
	}
	// Document sequences may follow the command in an OP_MSG; they are not needed here.
	if start+4 > len(m.body) {
		return nil, errors.New("message is truncated")
	}
	end := start + int(int32(binary.LittleEndian.Uint32(m.body[start:])))
	if end < start || end > len(m.body) {
		return nil, errors.New("message is truncated")
	}
	var document bson.D
	if err := bson.Unmarshal(m.body[start:end], &document); err != nil {
		return nil, err
	}
	if len(document) == 0 {
		return nil, errors.New("message carries an empty document")
	}
	return document, nil
}

// rewrite sends the message on with another document.
func (m *message) rewrite(w io.Writer, document bson.D) error {
	text, err := bson.Marshal(document)
	if err != nil {
		return err
	}
	body := make([]byte, 5, 5+len(text))
	if m.opCode == opQuery {
		body = m.body[:4+slices.Index(m.body[4:], 0)+1+8]
		return send(w, m.id, 0, opQuery, append(slices.Clone(body), text...))
	}
	return send(w, m.id, 0, opMsg, append(body, text...))
}

// answer sends a document as the reply to the message, in the form of its kind.
func (m *message) answer(w io.Writer, document bson.D) error {
	text, err := bson.Marshal(document)
	if err != nil {
		return err
	}
	if m.opCode == opQuery {
		body := make([]byte, 20, 20+len(text))
		binary.LittleEndian.PutUint32(body[0:], 8)  // flag AwaitCapable
		binary.LittleEndian.PutUint32(body[16:], 1) // one document
		return send(w, 1, m.id, opReply, append(body, text...))
	}
	return send(w, 1, m.id, opMsg, append(make([]byte, 5, 5+len(text)), text...))
}

func send(w io.Writer, id, responseTo, opCode int32, body []byte) error {
	frame := make([]byte, headerBytes, headerBytes+len(body))
	binary.LittleEndian.PutUint32(frame[0:], uint32(headerBytes+len(body)))
	binary.LittleEndian.PutUint32(frame[4:], uint32(id))
	binary.LittleEndian.PutUint32(frame[8:], uint32(responseTo))
	binary.LittleEndian.PutUint32(frame[12:], uint32(opCode))
	_, err := w.Write(append(frame, body...))
	return err
}
