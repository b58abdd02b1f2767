// SPDX-License-Identifier: Apache-2.0

package dynamodb

import (
	"strings"
	"sync"

	"postern.dev/postern/internal/edge/call"
)

// maxSchemas bounds the tables remembered.
const maxSchemas = 10000

// Schemas remembers the partition keys of tables and indexes by their ARNs. A nil
// one knows nothing.
type Schemas struct {
	mu   sync.Mutex
	keys map[string]string
}

func (s *Schemas) partitionKey(arn string) (string, bool) {
	if s == nil {
		return "", false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name, ok := s.keys[arn]
	return name, ok
}

// keep makes the call remember a table, or forget it, by the backend's answer.
func (d *reader) keep(o call.Object) {
	name, e := o.String("TableName")
	if d.schemas == nil || e != nil {
		return
	}
	table, e := d.table(name, "")
	if e != nil {
		return
	}
	switch d.name {
	case "CreateTable", "DescribeTable", "UpdateTable":
		d.Answer = func(status int, body []byte) {
			if status == 200 {
				d.schemas.learn(table, body)
			}
		}
	case "DeleteTable":
		d.Answer = func(int, []byte) { d.schemas.forget(table) }
	}
}

// forget drops a table and its indexes.
func (s *Schemas) forget(table string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for arn := range s.keys {
		if arn == table || strings.HasPrefix(arn, table+"/index/") {
			delete(s.keys, arn)
		}
	}
}

// learn reads the description of a table.
func (s *Schemas) learn(table string, body []byte) {
	found := map[string]string{}
	o, e := call.ParseJSON(body)
	if e != nil {
		return
	}
	for _, member := range []string{"Table", "TableDescription"} {
		d, e := o.Object(member)
		if e != nil || d == nil {
			continue
		}
		partition(found, table, d)
		for _, list := range []string{"GlobalSecondaryIndexes", "LocalSecondaryIndexes"} {
			indexes, _ := d.Objects(list)
			for _, i := range indexes {
				if name, e := i.String("IndexName"); e == nil && tableName.MatchString(name) {
					partition(found, table+"/index/"+name, i)
				}
			}
		}
	}
	if len(found) == 0 {
		return
	}
	s.forget(table)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.keys == nil || len(s.keys)+len(found) > maxSchemas {
		s.keys = map[string]string{} // what is in use comes back
	}
	for arn, name := range found {
		s.keys[arn] = name
	}
}

// partition finds the partition key in a KeySchema.
func partition(found map[string]string, arn string, d call.Object) {
	schema, _ := d.Objects("KeySchema")
	for _, k := range schema {
		kind, _ := k.String("KeyType")
		if name, e := k.String("AttributeName"); kind == "HASH" && e == nil && name != "" {
			found[arn] = name
		}
	}
}
