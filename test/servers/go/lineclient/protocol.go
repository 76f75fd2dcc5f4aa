// Package lineclient lets tests in another language drive Kubernetes' own KMS
// client code: one JSON request a line on standard input, one JSON reply a line
// on standard output. Requests run at the same time, so a reply carries the id
// of its request. Go versions as old as Kubernetes 1.22's module asks for must
// compile it: no generics here.
package lineclient

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"sync"
	"time"
)

// Request is one line of input. Byte fields are base64, as encoding/json has it.
type Request struct {
	ID          int64             `json:"id"`
	Op          string            `json:"op"`
	API         string            `json:"api"`         // v1 or v2, for calls of the service itself
	UID         string            `json:"uid"`         // v2
	Plaintext   []byte            `json:"plaintext"`   // encrypt, transform-to
	Ciphertext  []byte            `json:"ciphertext"`  // decrypt
	KeyID       string            `json:"keyId"`       // decrypt, v2
	Annotations map[string][]byte `json:"annotations"` // decrypt, v2
	Path        string            `json:"path"`        // transform-*: the etcd key
	Stored      []byte            `json:"stored"`      // transform-from
	Through     string            `json:"through"`     // write, read: envelope or service
	Count       int               `json:"count"`       // write
	Size        int               `json:"size"`        // write: bytes of an object
	Workers     int               `json:"workers"`     // write, read
	Append      bool              `json:"append"`      // write: keep what earlier writes left
}

// Reply is one line of output: either Error is set, or the fields of the op.
type Reply struct {
	ID          int64             `json:"id"`
	Error       string            `json:"error,omitempty"`
	Code        string            `json:"code,omitempty"` // gRPC's name of the status code, where there is one
	Plaintext   []byte            `json:"plaintext,omitempty"`
	Ciphertext  []byte            `json:"ciphertext,omitempty"`
	KeyID       string            `json:"keyId,omitempty"`
	Annotations map[string][]byte `json:"annotations,omitempty"`
	Version     string            `json:"version,omitempty"`
	Healthz     string            `json:"healthz,omitempty"`
	Stored      []byte            `json:"stored,omitempty"`
	Stale       bool              `json:"stale,omitempty"`
	Checks      map[string]string `json:"checks,omitempty"` // empty text: the check passed
	Load        *Load             `json:"load,omitempty"`
}

// Sealed is what Encrypt answers and Decrypt takes; v1 has the ciphertext alone.
type Sealed struct {
	Ciphertext  []byte
	KeyID       string
	Annotations map[string][]byte
}

// Service is one version of the KMS API, called through Kubernetes' own client.
type Service interface {
	Encrypt(ctx context.Context, uid string, plaintext []byte) (Sealed, error)
	Decrypt(ctx context.Context, uid string, sealed Sealed) ([]byte, error)
	// Status answers version, healthz and key id; v1 has no such call.
	Status(ctx context.Context) (version, healthz, keyID string, err error)
}

// Config is an EncryptionConfiguration that Kubernetes' own code has loaded.
type Config struct {
	ToStorage   func(path string, data []byte) ([]byte, error)
	FromStorage func(path string, stored []byte) (data []byte, stale bool, err error)
	Checks      map[string]func() error // the health checks of the API server
	Close       func()
}

// Kubernetes is what one release of k8s.io/apiserver offers.
type Kubernetes struct {
	Dial func(api, endpoint string, timeout time.Duration) (Service, error)
	Load func(file string) (*Config, error)
}

// Main reads the flags and serves requests until standard input ends.
func Main(kubernetes Kubernetes) {
	endpoint := flag.String("endpoint", "", "the plugin's socket, as unix:///path")
	timeout := flag.Duration("timeout", 3*time.Second, "for each call of the service itself")
	config := flag.String("config", "", "file with an EncryptionConfiguration that encrypts secrets")
	flag.Parse()
	session := &session{
		kubernetes: kubernetes,
		endpoint:   *endpoint,
		timeout:    *timeout,
		file:       *config,
		services:   map[string]Service{},
	}
	var writing sync.Mutex
	out := json.NewEncoder(os.Stdout)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var request Request
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			fmt.Fprintln(os.Stderr, "not a request:", err)
			os.Exit(2)
		}
		go func() {
			reply := session.answer(request)
			reply.ID = request.ID
			writing.Lock()
			defer writing.Unlock()
			if err := out.Encode(reply); err != nil {
				os.Exit(1) // nobody listens any more
			}
		}()
	}
}
