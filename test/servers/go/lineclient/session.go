package lineclient

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// session holds what requests share: connections, the loaded configuration, and
// the objects that were written.
type session struct {
	kubernetes Kubernetes
	endpoint   string
	timeout    time.Duration
	file       string

	mutex    sync.Mutex
	services map[string]Service
	config   *Config
	objects  []object
}

func (s *session) answer(request Request) Reply {
	reply, err := s.perform(request)
	if err != nil {
		return Reply{Error: err.Error(), Code: codeOf(err)}
	}
	return reply
}

func (s *session) perform(request Request) (Reply, error) {
	switch request.Op {
	case "encrypt", "decrypt", "status":
		return s.call(request)
	case "dial": // forget the connections and their back-off
		s.mutex.Lock()
		defer s.mutex.Unlock()
		s.services = map[string]Service{}
		return Reply{}, nil
	case "load": // as an API server that starts: nothing is cached
		_, err := s.load(true)
		return Reply{}, err
	case "healthz":
		return s.healthz()
	case "transform-to", "transform-from":
		return s.transform(request)
	case "write":
		return s.write(request)
	case "read":
		return s.read(request)
	}
	return Reply{}, fmt.Errorf("unknown op %q", request.Op)
}

func (s *session) call(request Request) (Reply, error) {
	service, err := s.service(request.API)
	if err != nil {
		return Reply{}, err
	}
	ctx := context.Background()
	switch request.Op {
	case "encrypt":
		sealed, err := service.Encrypt(ctx, request.UID, request.Plaintext)
		return Reply{
			Ciphertext:  sealed.Ciphertext,
			KeyID:       sealed.KeyID,
			Annotations: sealed.Annotations,
		}, err
	case "decrypt":
		plaintext, err := service.Decrypt(ctx, request.UID, Sealed{
			Ciphertext:  request.Ciphertext,
			KeyID:       request.KeyID,
			Annotations: request.Annotations,
		})
		return Reply{Plaintext: plaintext}, err
	default:
		version, healthz, keyID, err := service.Status(ctx)
		return Reply{Version: version, Healthz: healthz, KeyID: keyID}, err
	}
}

func (s *session) transform(request Request) (Reply, error) {
	config, err := s.load(false)
	if err != nil {
		return Reply{}, err
	}
	if request.Op == "transform-to" {
		stored, err := config.ToStorage(request.Path, request.Plaintext)
		return Reply{Stored: stored}, err
	}
	plaintext, stale, err := config.FromStorage(request.Path, request.Stored)
	return Reply{Plaintext: plaintext, Stale: stale}, err
}

func (s *session) healthz() (Reply, error) {
	config, err := s.load(false)
	if err != nil {
		return Reply{}, err
	}
	checks := map[string]string{}
	for name, check := range config.Checks {
		checks[name] = ""
		if err := check(); err != nil {
			checks[name] = err.Error()
		}
	}
	return Reply{Checks: checks}, nil
}

func (s *session) service(api string) (Service, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if service := s.services[api]; service != nil {
		return service, nil
	}
	service, err := s.kubernetes.Dial(api, s.endpoint, s.timeout)
	if err == nil {
		s.services[api] = service
	}
	return service, err
}

func (s *session) load(anew bool) (*Config, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.config != nil && !anew {
		return s.config, nil
	}
	config, err := s.kubernetes.Load(s.file)
	if err != nil {
		return nil, err
	}
	if s.config != nil {
		s.config.Close()
	}
	s.config = config
	return config, nil
}

// codeOf finds the status in a wrapped error too; old gRPC libraries do not.
func codeOf(err error) string {
	var withStatus interface{ GRPCStatus() *status.Status }
	if errors.As(err, &withStatus) {
		return withStatus.GRPCStatus().Code().String()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return codes.DeadlineExceeded.String()
	}
	return ""
}
