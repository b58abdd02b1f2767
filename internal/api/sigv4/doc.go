// SPDX-License-Identifier: Apache-2.0

// Package sigv4 verifies AWS Signature Version 4 on the server side, in the
// header form (Authorization: AWS4-HMAC-SHA256 ...) and in the presigned form
// (X-Amz-Signature and its companions in the query string). Sign signs in the
// header form, for the few requests that we send to AWS-compatible services
// ourselves.
//
// # Words
//
// The scope is date/region/service/aws4_request, as in the Credential. The
// payload hash is the last line of the canonical request: the SHA-256 of the
// body in hex, or one of S3's fixed words such as UNSIGNED-PAYLOAD.
//
// # Promises
//
//   - A request that verifies was signed with the credential's secret over this
//     method, path, query, signed headers, host, time, scope and payload hash.
//     Every x-amz-* header of the request is signed. Headers that are not signed
//     prove nothing; Identity.SignedHeaders says which are.
//   - Without S3, the body given to Verify has the signed hash, or the hash is
//     UNSIGNED-PAYLOAD and the Verifier's policy accepts that. With S3 the body
//     is usually not read yet: Identity.PayloadHash is what the caller must hold
//     it against.
//   - A Verifier without Lookup, Regions or Services accepts nothing.
//   - Errors are *Error and hold neither the secret nor the expected signature.
//     Signatures and tokens are compared in constant time.
//   - A repeated request is not refused within its time window, as in AWS.
//
// The host that is verified is http.Request.Host, port included (a default port
// may be left out), so a proxy in front must not change it. The path is the one on the wire
// (URL.EscapedPath), encoded once more for every service but S3.
package sigv4
