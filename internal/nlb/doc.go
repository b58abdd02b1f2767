// SPDX-License-Identifier: Apache-2.0

// Package nlb is the health prober of network load balancers: it checks targets
// the way an NLB node does and says when a target's health changes.
//
// # Words
//
// A probe is one target's health check from one node (desired.Probe). A check is
// one try. Until the first decision a target's state is unknown, what AWS calls
// "initial".
//
// A target has a probe for every node that may send to it, and each probe
// decides for itself: what stands between a node and the target (groups, network
// ACLs) is part of the check.
//
// A target that expects a PROXY protocol header gets one with each check, with
// the command LOCAL: it tells of no client, since there is none.
//
// # How a state is decided
//
// The first success makes an unknown target healthy; as many failures in a row
// as the unhealthy threshold make it unhealthy. Afterwards it takes the healthy
// or unhealthy threshold in a row to change it. A changed probe starts over.
//
// An unknown target is checked every second, or more often if its interval is
// shorter, so that a new target serves within a second or two of listening
// instead of after half a minute; with the state known the interval of the
// health check counts. AWS does not document its pace for new targets. Starts
// are spread over half a second.
//
// # Promises
//
// Answers of targets are hostile: their size is bounded, certificates mean
// nothing, redirects are not followed. A tenant whose targets do not answer
// holds at most a share of the checks that run at one time. No result comes for a
// probe after its removal was taken from the input.
package nlb
