// Command kms-client-1.22 calls a plugin as the API server of Kubernetes 1.22
// does: KMS v1 over a gRPC library that sends the socket's raw path as authority.
package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope"

	"trousseau.test/lineclient"
)

func main() {
	lineclient.Main(lineclient.Kubernetes{Dial: dial, Load: load})
}

func dial(api, endpoint string, timeout time.Duration) (lineclient.Service, error) {
	if api != "v1" {
		return nil, fmt.Errorf("Kubernetes 1.22 has no KMS %s", api)
	}
	service, err := envelope.NewGRPCService(endpoint, timeout)
	return v1{service}, err
}

type v1 struct{ service envelope.Service }

func (s v1) Encrypt(_ context.Context, _ string, plaintext []byte) (lineclient.Sealed, error) {
	ciphertext, err := s.service.Encrypt(plaintext)
	return lineclient.Sealed{Ciphertext: ciphertext}, err
}

func (s v1) Decrypt(_ context.Context, _ string, sealed lineclient.Sealed) ([]byte, error) {
	return s.service.Decrypt(sealed.Ciphertext)
}

func (s v1) Status(context.Context) (string, string, string, error) {
	return "", "", "", errors.New("v1 has no Status")
}

func load(file string) (*lineclient.Config, error) {
	transformers, err := encryptionconfig.GetTransformerOverrides(file)
	if err != nil {
		return nil, err
	}
	secrets := transformers[schema.GroupResource{Resource: "secrets"}]
	if secrets == nil {
		return nil, fmt.Errorf("%s: nothing encrypts secrets", file)
	}
	checkers, err := encryptionconfig.GetKMSPluginHealthzCheckers(file)
	if err != nil {
		return nil, err
	}
	checks := map[string]func() error{}
	for i := range checkers {
		checker := checkers[i]
		checks[checker.Name()] = func() error { return checker.Check(nil) }
	}
	return &lineclient.Config{
		ToStorage: func(path string, data []byte) ([]byte, error) {
			return secrets.TransformToStorage(data, value.DefaultContext(path))
		},
		FromStorage: func(path string, stored []byte) ([]byte, bool, error) {
			return secrets.TransformFromStorage(stored, value.DefaultContext(path))
		},
		Checks: checks,
		Close:  func() {}, // this release cannot close its connections
	}, nil
}
