// Command steward-mongod stands in for mongod on machines where no package
// registry carries one. It embeds FerretDB (SQLite handler) and adds what a
// backup tool must be tested against: SCRAM-SHA-256 logins, checked before any
// other command, and a capped local.oplog.rs.
//
// It is not a replica set: hello names none and has no majority point, there
// are no transactions, no change streams and no roles (who has logged in may do
// all), and the oplog has inserts, updates and deletes only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/FerretDB/FerretDB/ferretdb"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// namespaceExists is the server's error code for create on an existing collection.
const namespaceExists = 48

func main() {
	bind := flag.String("bind", "127.0.0.1", "address to listen on; several separated by commas")
	port := flag.Int("port", 27017, "TCP port")
	data := flag.String("data", "", "folder of the data files (required)")
	users := flag.String("users", "", `file with {"user": "password", ...}, mode 0600; without it no login is needed`)
	oplog := flag.Int64("oplog-size-mb", 0, "size of the capped local.oplog.rs; 0 makes none")
	flag.Parse()
	if *data == "" || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "steward-mongod: --data is required and nothing follows the options; see --help")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *bind, *port, *data, *users, *oplog); err != nil {
		fmt.Fprintln(os.Stderr, "steward-mongod:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, bind string, port int, data, usersFile string, oplogMB int64) error {
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	accounts, err := newAccounts(usersFile)
	if err != nil {
		return err
	}
	if data, err = filepath.Abs(data); err != nil {
		return err
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return fmt.Errorf("--data %s: %w", data, err)
	}
	// FerretDB itself listens on a socket that only this user reaches. The path
	// of a Unix socket has 108 bytes at most, so it is not put below --data.
	runDir, err := os.MkdirTemp("", "steward-mongod-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(runDir)
	socket := filepath.Join(runDir, "s.sock")

	db, err := ferretdb.New(&ferretdb.Config{
		Listener: ferretdb.ListenerConfig{Unix: socket},
		Logger:   logger,
		Handler:  "sqlite",
		// A crash of the machine may cost this stand-in its data; a crash of its own costs nothing.
		SQLiteURL: "file:" + data + "/?_pragma=synchronous(off)",
	})
	if err != nil {
		return fmt.Errorf("--data %s: %w", data, err)
	}
	served := make(chan error, 1)
	dbCtx, stopDB := context.WithCancel(context.WithoutCancel(ctx))
	go func() { served <- db.Run(dbCtx) }()
	defer func() {
		stopDB()
		select {
		case <-served:
		case <-time.After(10 * time.Second):
		}
	}()

	if oplogMB > 0 {
		if err := createOplog(ctx, socket, oplogMB); err != nil {
			return fmt.Errorf("creating local.oplog.rs: %w", err)
		}
	}
	listeners, err := listen(ctx, bind, port)
	if err != nil {
		return err
	}
	oplog, err := openOplog(data)
	if err != nil {
		return err
	}
	front := &front{socket: socket, accounts: accounts, oplog: oplog, log: logger}
	for _, l := range listeners {
		go front.serve(ctx, l)
	}
	fmt.Printf("steward-mongod: listening on %s port %d\n", bind, port)
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return fmt.Errorf("the database ended by itself: %w", err)
	}
}

// createOplog makes the capped collection that FerretDB then writes to.
func createOplog(ctx context.Context, socket string, sizeMB int64) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	client, err := mongo.Connect(options.Client().ApplyURI("mongodb://" + url.PathEscape(socket) + "/?directConnection=true"))
	if err != nil {
		return err
	}
	defer client.Disconnect(ctx)
	command := bson.D{{Key: "create", Value: "oplog.rs"}, {Key: "capped", Value: true}, {Key: "size", Value: sizeMB << 20}}
	err = client.Database("local").RunCommand(ctx, command).Err()
	var failed mongo.CommandError
	if errors.As(err, &failed) && failed.Code == namespaceExists {
		return nil
	}
	return err
}

// listen opens every address of bind, or none.
func listen(ctx context.Context, bind string, port int) ([]net.Listener, error) {
	var opened []net.Listener
	for _, address := range splitAddresses(bind) {
		var config net.ListenConfig
		l, err := config.Listen(ctx, "tcp", net.JoinHostPort(address, fmt.Sprint(port)))
		if err != nil {
			for _, other := range opened {
				other.Close()
			}
			return nil, err
		}
		opened = append(opened, l)
	}
	return opened, nil
}
