// SPDX-License-Identifier: Apache-2.0

// Package notify is what stands behind the topics of connection notifications:
// any server that speaks SNS's Publish, webhooks, and files.
//
// # Words
//
// A Rule is the operator's: it says which topic ARNs go where and which
// accounts may use them. The first rule that fits an ARN decides. A sink is
// what publishes for one rule.
//
// # Promises
//
//   - Where something is sent is the rule's. Nothing an account chooses becomes
//     part of an address or a path, redirects are not followed, and what a
//     server answers is read up to a bound and within a time.
//   - Only a topic's own refusal is a *control.Refused: the topic is gone, or
//     does not let us publish. What the operator has to mend (a wrong key, no
//     rule, no route) is worth another attempt.
//   - No error holds a secret or a URL, which may have one in its path.
//   - Delivered means: SNS answered with a message id, the webhook with 2xx,
//     the file has the line on disk.
package notify
