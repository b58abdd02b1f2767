// SPDX-License-Identifier: Apache-2.0

// Command s3readings says how the edge reads requests to S3, one JSON object on a
// line in, one out. The S3 backend, a module of its own, tests with it that it
// reads them alike.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"

	"postern.dev/postern/internal/edge/call"
	"postern.dev/postern/internal/edge/s3"
)

// request is a line of the input.
type request struct {
	Method, URI, Bucket string
	Header              http.Header
}

// reading is a line of the output: an error's code, or the checks, each with all
// readings of its resource.
type reading struct {
	Error   string
	Unknown bool
	Checks  []check
}

type check struct {
	Action    string
	Resources []string
}

func main() {
	in, out := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var r request
		if err := in.Decode(&r); err == io.EOF {
			return
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "s3readings:", err)
			os.Exit(1)
		}
		var answer reading
		c, e := s3.Read(call.Request{Method: r.Method, URI: r.URI, Label: r.Bucket, Header: r.Header})
		if e != nil {
			answer.Error = e.Code
		} else {
			answer.Unknown = c.Unknown != ""
			for _, k := range c.Checks {
				answer.Checks = append(answer.Checks, check{k.Action, append([]string{k.Resource}, k.Also...)})
			}
		}
		if err := out.Encode(answer); err != nil {
			fmt.Fprintln(os.Stderr, "s3readings:", err)
			os.Exit(1)
		}
	}
}
