// Command kms-client-1.27 calls a plugin as the API server of Kubernetes 1.27
// does: KMS v1 and the first v2 (it accepts version v2beta1 alone), with the
// socket's raw path as authority.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/server/options/encryptionconfig"
	"k8s.io/apiserver/pkg/storage/value"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope"
	"k8s.io/apiserver/pkg/storage/value/encrypt/envelope/kmsv2"
	kmsservice "k8s.io/kms/pkg/service"

	"trousseau.test/lineclient"
)

func main() {
	lineclient.Main(lineclient.Kubernetes{Dial: dial, Load: load})
}

func dial(api, endpoint string, timeout time.Duration) (lineclient.Service, error) {
	switch api {
	case "v1":
		service, err := envelope.NewGRPCService(context.Background(), endpoint, timeout)
		return v1{service}, err
	case "v2":
		service, err := kmsv2.NewGRPCService(context.Background(), endpoint, "test", timeout)
		return v2{service}, err
	}
	return nil, fmt.Errorf("there is no KMS %s", api)
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

type v2 struct{ service kmsservice.Service }

func (s v2) Encrypt(ctx context.Context, uid string, plaintext []byte) (lineclient.Sealed, error) {
	reply, err := s.service.Encrypt(ctx, uid, plaintext)
	if err != nil {
		return lineclient.Sealed{}, err
	}
	return lineclient.Sealed{
		Ciphertext:  reply.Ciphertext,
		KeyID:       reply.KeyID,
		Annotations: reply.Annotations,
	}, nil
}

func (s v2) Decrypt(ctx context.Context, uid string, sealed lineclient.Sealed) ([]byte, error) {
	return s.service.Decrypt(ctx, uid, &kmsservice.DecryptRequest{
		Ciphertext:  sealed.Ciphertext,
		KeyID:       sealed.KeyID,
		Annotations: sealed.Annotations,
	})
}

func (s v2) Status(ctx context.Context) (string, string, string, error) {
	reply, err := s.service.Status(ctx)
	if err != nil {
		return "", "", "", err
	}
	return reply.Version, reply.Healthz, reply.KeyID, nil
}

func load(file string) (*lineclient.Config, error) {
	ctx, cancel := context.WithCancel(context.Background())
	loaded, err := encryptionconfig.LoadEncryptionConfig(ctx, file, false)
	if err != nil {
		cancel()
		return nil, err
	}
	secrets := loaded.Transformers[schema.GroupResource{Resource: "secrets"}]
	if secrets == nil {
		cancel()
		return nil, fmt.Errorf("%s: nothing encrypts secrets", file)
	}
	checks := map[string]func() error{}
	for i := range loaded.HealthChecks {
		checker := loaded.HealthChecks[i]
		checks[checker.Name()] = func() error {
			return checker.Check((&http.Request{}).WithContext(ctx))
		}
	}
	return &lineclient.Config{
		ToStorage: func(path string, data []byte) ([]byte, error) {
			return secrets.TransformToStorage(ctx, data, value.DefaultContext(path))
		},
		FromStorage: func(path string, stored []byte) ([]byte, bool, error) {
			return secrets.TransformFromStorage(ctx, stored, value.DefaultContext(path))
		},
		Checks: checks,
		Close:  cancel,
	}, nil
}
