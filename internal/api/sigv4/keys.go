// SPDX-License-Identifier: Apache-2.0

package sigv4

import (
	"crypto/hmac"
	"crypto/sha256"
	"sync"
)

// maxKeys bounds the signing keys kept. One is needed per access key, day, region and service.
const maxKeys = 1024

// keyID says everything that a signing key is derived from, the secret too, so that a
// changed secret never meets an old key.
type keyID struct{ accessKey, secret, date, region, service string }

// keyCache keeps derived signing keys. The zero value is ready.
type keyCache struct {
	mu   sync.Mutex
	keys map[keyID][sha256.Size]byte
}

func (k *keyCache) get(id keyID) []byte {
	k.mu.Lock()
	key, ok := k.keys[id]
	k.mu.Unlock()
	if ok {
		return key[:]
	}
	derived := sign([]byte("AWS4"+id.secret), id.date)
	for _, part := range []string{id.region, id.service, terminator} {
		derived = sign(derived, part)
	}
	copy(key[:], derived)
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.keys) >= maxKeys {
		// Any key may go: a key derived again costs four hashes.
		for old := range k.keys {
			delete(k.keys, old)
			break
		}
	}
	if k.keys == nil {
		k.keys = map[keyID][sha256.Size]byte{}
	}
	k.keys[id] = key
	return derived
}

func (k *keyCache) len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.keys)
}

func sign(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}
