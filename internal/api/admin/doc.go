// SPDX-License-Identifier: Apache-2.0

// Package admin is the operator's door: what no AWS client can ask for, as
// JSON over a unix socket. The command line uses it through Client.
//
// There are no keys here: whoever may open the socket is the operator, and the
// socket's mode (0600) is what decides that. So the answers may hold secrets,
// objects of every account are visible, and the socket must never be made
// reachable for a workload or over a network.
//
//	GET    /v1/info               the installation                       Info
//	GET    /v1/accounts           every account, without secrets         []Account
//	POST   /v1/accounts           make one: NewAccount                   Account with secrets
//	GET    /v1/accounts/{name}    by name or account id                  Account with secrets
//	GET    /v1/domains            domains that are vouched for           []Domain
//	POST   /v1/domains            vouch for one: Domain
//	DELETE /v1/domains            no longer; ?account=&domain=
//	GET    /v1/workloads/{id}     an instance or interface of anybody    Workload
//	POST   /v1/run                start an instance and wait: NewRun     Workload
//	POST   /v1/terminate          Target
//	POST   /v1/attach             put something behind an interface: Attachment
//	POST   /v1/detach             Target
//	GET    /v1/hosts              machines that run workloads            []Host
//	POST   /v1/hosts              register one: NewHost                  Joining
//	POST   /v1/hosts/{name}/token let a machine become it                Joining
//	DELETE /v1/hosts/{name}       ?gone=true: with what was on it
//	GET    /v1/status             hosts, revisions, counts               Status
//	GET    /v1/names              what the datapath's numbers mean       Names
//	GET    /v1/endpoints/{id}/candidate  the candidate policy            Candidate
//	PUT    /v1/endpoints/{id}/candidate  set it: NewCandidate            Candidate
//	DELETE /v1/endpoints/{id}/candidate
//	GET    /v1/notifications      of every account, with what waits      []Notification
//	GET    /v1/services           the catalogue                          []Service
//	POST   /v1/services           add to it: NewServices                 []Service
//	DELETE /v1/services/{name}    take out what was added
//
// An error is {"error": "...", "kind": "..."}: the sentence to show, and the
// vpc.ErrorKind it has, "" for a fault of the server. What is wrong with entries of the
// catalogue is in "problems" too, each with its entry and field.
package admin
