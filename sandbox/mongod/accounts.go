package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/xdg-go/scram"
)

// scramIterations is the server's default for SCRAM-SHA-256 (parameter
// scramSHA256IterationCount of the MongoDB manual).
const scramIterations = 15000

// accounts are the users that may log in; nil means that no login is needed.
type accounts struct {
	file string
}

// newAccounts checks the users file; an empty name means no logins.
func newAccounts(file string) (*accounts, error) {
	if file == "" {
		return nil, nil
	}
	a := &accounts{file: file}
	_, err := a.read()
	return a, err
}

// read returns the passwords by user. The file is read at every login, so a
// rotated password needs no restart.
func (a *accounts) read() (map[string]string, error) {
	info, err := os.Stat(a.file)
	if err != nil {
		return nil, fmt.Errorf("--users: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("--users %s: mode is %#o, others can read it; use 0600", a.file, info.Mode().Perm())
	}
	text, err := os.ReadFile(a.file)
	if err != nil {
		return nil, fmt.Errorf("--users: %w", err)
	}
	var users map[string]string
	if err := json.Unmarshal(text, &users); err != nil {
		return nil, fmt.Errorf(`--users %s: not {"user": "password"}: %w`, a.file, err)
	}
	return users, nil
}

// conversation starts one SCRAM-SHA-256 exchange.
func (a *accounts) conversation() (*scram.ServerConversation, error) {
	server, err := scram.SHA256.NewServer(func(user string) (scram.StoredCredentials, error) {
		users, err := a.read()
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		password, known := users[user]
		if !known {
			return scram.StoredCredentials{}, errors.New("unknown user")
		}
		client, err := scram.SHA256.NewClient(user, password, "")
		if err != nil {
			return scram.StoredCredentials{}, err
		}
		salt := make([]byte, 28)
		if _, err := rand.Read(salt); err != nil {
			return scram.StoredCredentials{}, err
		}
		factors := scram.KeyFactors{Salt: string(salt), Iters: scramIterations}
		return client.GetStoredCredentials(factors), nil
	})
	if err != nil {
		return nil, err
	}
	return server.NewConversation(), nil
}

// splitAddresses splits a comma-separated list, without empty parts.
func splitAddresses(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}
