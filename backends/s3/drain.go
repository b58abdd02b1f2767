// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"

	"github.com/gofiber/fiber/v3"
)

// maxDrain bounds what is read of a body nobody wanted; a connection with more
// of it left is closed.
const maxDrain = 32 << 20

// drain reads what a handler has left of a request's body before the answer
// goes out. The HTTP server does not: it would take the rest for the next
// request on the connection. A handler leaves the last bytes of a body with
// chunk signatures, and all of one it refuses.
func drain(ctx fiber.Ctx) error {
	body := ctx.Request().BodyStream()
	err := ctx.Next()
	// A body that was read as a whole has been given back and is another's by now.
	if body == nil || ctx.Request().BodyStream() != body {
		return err
	}
	if n, drainErr := io.CopyN(io.Discard, body, maxDrain); n == maxDrain || drainErr != io.EOF {
		ctx.Response().SetConnectionClose()
	}
	return err
}
