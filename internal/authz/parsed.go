// SPDX-License-Identifier: Apache-2.0

package authz

import (
	"sync"

	"postern.dev/postern/internal/policy"
)

// maxParsed bounds the parsed documents kept: those of a hundred busy callers.
const maxParsed = 1024

// parsedDocuments keeps parsed identity policies by their text. Reading a
// document costs ten times what judging a call by it does, and the same
// few are asked for every call.
type parsedDocuments struct {
	mu     sync.Mutex
	byText map[string]*policy.Policy // guarded by mu
}

var parsed parsedDocuments

func (p *parsedDocuments) get(doc string) (*policy.Policy, error) {
	p.mu.Lock()
	have := p.byText[doc]
	p.mu.Unlock()
	if have != nil {
		return have, nil
	}
	made, err := policy.ParseOptions([]byte(doc), policy.Options{Identity: true})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.byText) >= maxParsed {
		for old := range p.byText { // any may go
			delete(p.byText, old)
			break
		}
	}
	if p.byText == nil {
		p.byText = map[string]*policy.Policy{}
	}
	p.byText[doc] = made
	return made, nil
}
