// SPDX-License-Identifier: Apache-2.0

package dynamodb

import (
	"regexp"

	"postern.dev/postern/internal/edge/call"
)

// streamOperations are those of DynamoDB Streams.
var streamOperations = map[string]operation{
	"DescribeStream":   onStream,
	"GetShardIterator": onStream,
	"GetRecords":       getRecords,
	"ListStreams":      none,
}

var streamARN = regexp.MustCompile(`^arn:aws[a-z-]*:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[a-zA-Z0-9_.-]{1,255}/stream/[a-zA-Z0-9_.:-]{1,64}$`)

// onStream is an operation on the stream that the request names.
func onStream(d *reader, o call.Object) *call.Error {
	arn, e := o.String("StreamArn")
	if e != nil {
		return e
	}
	if !streamARN.MatchString(arn) {
		return invalid("Invalid StreamArn.")
	}
	d.Add("dynamodb:"+d.name, arn)
	return nil
}

// getRecords reads where an iterator stands. Only the backend can tell whose
// stream that is: what an iterator looks like is the backend's, and a text that
// starts with some stream's ARN need not be that stream's.
func getRecords(d *reader, o call.Object) *call.Error {
	iterator, e := o.String("ShardIterator")
	if e != nil {
		return e
	}
	if iterator == "" || len(iterator) > 2048 {
		return invalid("Invalid ShardIterator.")
	}
	d.MakeUnknown("dynamodb", "an iterator of GetRecords does not say which stream it reads")
	return nil
}
