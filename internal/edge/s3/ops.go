// SPDX-License-Identifier: Apache-2.0

package s3

import (
	"strings"

	"postern.dev/postern/internal/edge/call"
)

// scope is what an operation is done on.
type scope int

const (
	onService scope = iota
	onBucket
	onObject
)

// operation is one API operation of S3 as its request line shows it.
type operation struct {
	// action is the IAM action, versioned the one for a request with a
	// versionId; "" if the operation takes none.
	action, versioned string
	// params are the query parameters it takes besides its subresource.
	params []string
	// writes marks operations whose headers can set an ACL, tags or locks.
	writes bool
	// also is the action of the plain request, without the subresource. Backends
	// that do not know a subresource do that, so it must be allowed too.
	also string
	// body reads what of a call is in its body.
	body func(*s3call, []byte) *call.Error
	// form marks POST of a form, whose key is in the body.
	form bool
}

// opKey finds an operation: scope, method and subresource ("" for none).
type opKey struct {
	scope  scope
	method string
	sub    string
}

var (
	// subresources are the query parameters that make another operation of a
	// request, by scope. At most one may be there.
	subresources = map[scope]map[string]bool{onService: {}, onBucket: {}, onObject: {}}
	operations   = map[opKey]operation{}
)

// op adds an operation to the tables.
func op(s scope, methods, sub, action, versioned, params string) {
	o := operation{action: action, versioned: versioned, params: strings.Fields(params)}
	if versioned != "" {
		o.params = append(o.params, "versionId")
	}
	if sub != "" {
		subresources[s][sub] = true
	}
	for m := range strings.FieldsSeq(methods) {
		o.writes = action == "s3:PutObject" && sub != "uploadId" || action == "s3:CreateBucket"
		operations[opKey{s, m, sub}] = o
	}
}

// responseParams override headers of a GetObject answer.
const responseParams = " response-content-type response-content-language response-expires response-cache-control" +
	" response-content-disposition response-content-encoding"

// Actions are those of the service authorization reference for Amazon S3.
func init() {
	op(onService, "GET", "", "s3:ListAllMyBuckets", "", "prefix max-buckets continuation-token bucket-region")

	const list = "prefix delimiter encoding-type max-keys "
	op(onBucket, "GET", "", "s3:ListBucket", "", list+"marker list-type continuation-token start-after fetch-owner")
	op(onBucket, "HEAD", "", "s3:ListBucket", "", "")
	op(onBucket, "PUT", "", "s3:CreateBucket", "", "")
	op(onBucket, "DELETE", "", "s3:DeleteBucket", "", "")
	op(onBucket, "POST", "delete", "s3:DeleteObject", "", "")
	operations[opKey{onBucket, "POST", ""}] = operation{action: "s3:PutObject", form: true}
	op(onBucket, "GET", "versions", "s3:ListBucketVersions", "", list+"key-marker version-id-marker")
	op(onBucket, "GET", "uploads", "s3:ListBucketMultipartUploads", "", "prefix delimiter encoding-type key-marker max-uploads upload-id-marker")
	op(onBucket, "GET", "location", "s3:GetBucketLocation", "", "")
	op(onBucket, "GET", "policyStatus", "s3:GetBucketPolicyStatus", "", "")
	for _, c := range []struct{ sub, get, put, del, params string }{
		{"acl", "GetBucketAcl", "PutBucketAcl", "", ""},
		{"policy", "GetBucketPolicy", "PutBucketPolicy", "DeleteBucketPolicy", ""},
		{"cors", "GetBucketCORS", "PutBucketCORS", "PutBucketCORS", ""},
		{"lifecycle", "GetLifecycleConfiguration", "PutLifecycleConfiguration", "PutLifecycleConfiguration", ""},
		{"encryption", "GetEncryptionConfiguration", "PutEncryptionConfiguration", "PutEncryptionConfiguration", ""},
		{"versioning", "GetBucketVersioning", "PutBucketVersioning", "", ""},
		{"tagging", "GetBucketTagging", "PutBucketTagging", "PutBucketTagging", ""},
		{"website", "GetBucketWebsite", "PutBucketWebsite", "DeleteBucketWebsite", ""},
		{"logging", "GetBucketLogging", "PutBucketLogging", "", ""},
		{"notification", "GetBucketNotification", "PutBucketNotification", "", ""},
		{"replication", "GetReplicationConfiguration", "PutReplicationConfiguration", "PutReplicationConfiguration", ""},
		{"requestPayment", "GetBucketRequestPayment", "PutBucketRequestPayment", "", ""},
		{"accelerate", "GetAccelerateConfiguration", "PutAccelerateConfiguration", "", ""},
		{"object-lock", "GetBucketObjectLockConfiguration", "PutBucketObjectLockConfiguration", "", ""},
		{"ownershipControls", "GetBucketOwnershipControls", "PutBucketOwnershipControls", "PutBucketOwnershipControls", ""},
		{"publicAccessBlock", "GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock", "PutBucketPublicAccessBlock", ""},
		{"inventory", "GetInventoryConfiguration", "PutInventoryConfiguration", "PutInventoryConfiguration", "id continuation-token"},
		{"metrics", "GetMetricsConfiguration", "PutMetricsConfiguration", "PutMetricsConfiguration", "id continuation-token"},
		{"analytics", "GetAnalyticsConfiguration", "PutAnalyticsConfiguration", "PutAnalyticsConfiguration", "id continuation-token"},
		{"intelligent-tiering", "GetIntelligentTieringConfiguration", "PutIntelligentTieringConfiguration", "PutIntelligentTieringConfiguration", "id continuation-token"},
	} {
		op(onBucket, "GET", c.sub, "s3:"+c.get, "", c.params)
		op(onBucket, "PUT", c.sub, "s3:"+c.put, "", c.params)
		if c.del != "" {
			op(onBucket, "DELETE", c.sub, "s3:"+c.del, "", c.params)
		}
	}

	op(onObject, "GET HEAD", "", "s3:GetObject", "s3:GetObjectVersion", "partNumber"+responseParams)
	op(onObject, "PUT", "", "s3:PutObject", "", "")
	op(onObject, "DELETE", "", "s3:DeleteObject", "s3:DeleteObjectVersion", "")
	op(onObject, "GET", "acl", "s3:GetObjectAcl", "s3:GetObjectVersionAcl", "")
	op(onObject, "PUT", "acl", "s3:PutObjectAcl", "s3:PutObjectVersionAcl", "")
	op(onObject, "GET", "tagging", "s3:GetObjectTagging", "s3:GetObjectVersionTagging", "")
	op(onObject, "PUT", "tagging", "s3:PutObjectTagging", "s3:PutObjectVersionTagging", "")
	op(onObject, "DELETE", "tagging", "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging", "")
	op(onObject, "GET", "retention", "s3:GetObjectRetention", "s3:GetObjectRetention", "")
	op(onObject, "PUT", "retention", "s3:PutObjectRetention", "s3:PutObjectRetention", "")
	op(onObject, "GET", "legal-hold", "s3:GetObjectLegalHold", "s3:GetObjectLegalHold", "")
	op(onObject, "PUT", "legal-hold", "s3:PutObjectLegalHold", "s3:PutObjectLegalHold", "")
	op(onObject, "GET", "attributes", "s3:GetObjectAttributes", "s3:GetObjectVersionAttributes", "")
	op(onObject, "POST", "restore", "s3:RestoreObject", "s3:RestoreObject", "")
	op(onObject, "POST", "select", "s3:GetObject", "", "select-type")
	op(onObject, "POST", "uploads", "s3:PutObject", "", "")
	op(onObject, "GET", "uploadId", "s3:ListMultipartUploadParts", "", "max-parts part-number-marker encoding-type")
	op(onObject, "PUT", "uploadId", "s3:PutObject", "", "partNumber")
	op(onObject, "POST", "uploadId", "s3:PutObject", "", "")
	op(onObject, "DELETE", "uploadId", "s3:AbortMultipartUpload", "", "")

	// Later additions, which not every backend knows.
	late := func(s scope, method, sub, action string) {
		op(s, method, sub, action, "", "")
		o := operations[opKey{s, method, sub}]
		plain := operations[opKey{s, method, ""}]
		o.also, o.writes = plain.action, plain.writes
		operations[opKey{s, method, sub}] = o
	}
	late(onBucket, "GET", "abac", "s3:GetBucketAbac")
	late(onBucket, "PUT", "abac", "s3:PutBucketAbac")
	for _, sub := range []string{"metadataConfiguration", "metadataTable"} {
		late(onBucket, "POST", sub, "s3:CreateBucketMetadataTableConfiguration")
		late(onBucket, "GET", sub, "s3:GetBucketMetadataTableConfiguration")
		late(onBucket, "DELETE", sub, "s3:DeleteBucketMetadataTableConfiguration")
	}
	late(onBucket, "PUT", "metadataInventoryTable", "s3:UpdateBucketMetadataInventoryTableConfiguration")
	late(onBucket, "PUT", "metadataJournalTable", "s3:UpdateBucketMetadataJournalTableConfiguration")
	late(onObject, "GET", "torrent", "s3:GetObjectTorrent")
	late(onObject, "PUT", "encryption", "s3:UpdateObjectEncryption")
	encryption := opKey{onObject, "PUT", "encryption"}
	o := operations[encryption]
	o.params = append(o.params, "versionId") // the action is the same with a version
	o.versioned = o.action
	operations[encryption] = o

	for key, body := range map[opKey]func(*s3call, []byte) *call.Error{
		{onBucket, "POST", "delete"}:    (*s3call).readBulk,
		{onBucket, "PUT", ""}:           (*s3call).readLocation,
		{onBucket, "PUT", "inventory"}:  (*s3call).readInventory,
		{onObject, "PUT", "tagging"}:    (*s3call).readTagging,
		{onObject, "PUT", "retention"}:  (*s3call).readRetention,
		{onObject, "PUT", "legal-hold"}: (*s3call).readLegalHold,
	} {
		o := operations[key]
		o.body = body
		operations[key] = o
	}
}
