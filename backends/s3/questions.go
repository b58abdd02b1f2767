// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
)

// Questions of the proxy.
//
// Policies that the proxy evaluates may be about what only this program knows: the
// tags that an object has, the account that owns a bucket. The proxy asks on a
// socket of its own. What a client sends goes to the other one, so that nothing a
// client can write is ever a question.

// Bounds of one question, which is about the few objects of one request.
const (
	maxQuestion = 256 << 10
	maxObjects  = 16
)

// object is what is asked about: an object, or without a key a bucket.
type object struct {
	Bucket  string `json:"bucket"`
	Key     string `json:"key"`
	Version string `json:"version"` // "" for the current one
}

// knowledge is what there is to say of an object.
type knowledge struct {
	Owner string            `json:"owner"`          // the bucket's account; "" if there is no such bucket
	Tags  map[string]string `json:"tags,omitempty"` // none if there is no such object
}

// questions answers them.
type questions struct {
	storage backend.Backend
	owner   func(bucket string) (string, error)
}

func (q *questions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Objects []object `json:"objects"`
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxQuestion)).Decode(&in)
	if err != nil || r.Method != http.MethodPost || len(in.Objects) > maxObjects {
		http.Error(w, "this is no question", http.StatusBadRequest)
		return
	}
	out := struct {
		Objects []knowledge `json:"objects"`
	}{[]knowledge{}}
	for _, o := range in.Objects {
		k, err := q.answer(r.Context(), o)
		if err != nil {
			slog.Error("a question of the proxy has no answer", "bucket", o.Bucket, "error", err.Error())
			http.Error(w, "the storage does not say", http.StatusInternalServerError)
			return
		}
		out.Objects = append(out.Objects, k)
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		slog.Debug("the proxy did not wait for an answer", "error", err.Error())
	}
}

func (q *questions) answer(ctx context.Context, o object) (k knowledge, err error) {
	if !utils.IsValidBucketName(o.Bucket) {
		return k, nil
	}
	if k.Owner, err = q.owner(o.Bucket); err != nil || k.Owner == "" || o.Key == "" {
		return k, err
	}
	k.Tags, err = q.tags(ctx, o)
	return k, err
}

// tags are an object's as the gateway would act on it. What it would answer with an
// error of the client's has none.
func (q *questions) tags(ctx context.Context, o object) (map[string]string, error) {
	if !utils.IsObjectNameValid(o.Key) {
		return nil, nil
	}
	if o.Version == "null" {
		// An object from before versioning is its own version "null" to those who
		// read it, and has no such version to those who ask for its tags.
		head, err := q.storage.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &o.Bucket, Key: &o.Key})
		switch {
		case err == nil && (head.VersionId == nil || *head.VersionId == "" || *head.VersionId == o.Version):
			o.Version = ""
		case err != nil && !ofClient(err):
			return nil, err
		}
	}
	tags, err := q.storage.GetObjectTagging(ctx, o.Bucket, o.Key, o.Version)
	if err != nil && ofClient(err) {
		return nil, nil
	}
	return tags, err
}

// ofClient reports whether an error says that the client is wrong: there is no such
// object, or it cannot be named so.
func ofClient(err error) bool {
	var e s3err.S3Error
	return errors.As(err, &e) && e.StatusCode() >= 400 && e.StatusCode() < 500
}

// serveQuestions answers on the socket at path until stop is called; failed gets the
// error if it ends before.
func serveQuestions(q *questions, path string, group bool, failed chan<- error) (stop func(), err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove the socket of an earlier process: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen for questions: %w", err)
	}
	perm := os.FileMode(0o600)
	if group {
		perm = 0o660
	}
	if err := os.Chmod(path, perm); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen for questions: %w", err)
	}
	server := &http.Server{
		Handler: q, ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: 5 * time.Minute, MaxHeaderBytes: 8 << 10,
	}
	go func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("answer questions: %w", err)
		}
	}()
	return func() { server.Close() }, nil
}
