package lineclient

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"sort"
	"sync"
	"sync/atomic"
	"time"
)

// object is one value that was written: to storage, or sealed by the service.
type object struct {
	path      string
	plaintext []byte
	stored    []byte
	sealed    Sealed
}

// Load says how writing or reading many objects went; times are milliseconds.
type Load struct {
	Count      int     `json:"count"`
	Errors     int     `json:"errors"`
	Mismatches int     `json:"mismatches"` // read, but not what was written
	Stale      int     `json:"stale"`      // read, and due to be written again
	FirstError string  `json:"firstError"`
	FirstCode  string  `json:"firstCode"`
	ElapsedMs  float64 `json:"elapsedMs"`
	P50Ms      float64 `json:"p50Ms"`
	P99Ms      float64 `json:"p99Ms"`
	MaxMs      float64 `json:"maxMs"`
}

// write makes Count objects and keeps those that could be written.
func (s *session) write(request Request) (Reply, error) {
	seal, _, err := s.route(request)
	if err != nil {
		return Reply{}, err
	}
	objects := make([]object, request.Count)
	for i := range objects {
		objects[i].path = fmt.Sprintf("/registry/secrets/default/object-%d", i)
		objects[i].plaintext = make([]byte, request.Size)
		if _, err := rand.Read(objects[i].plaintext); err != nil {
			return Reply{}, err
		}
	}
	load := run(objects, request.Workers, seal)
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !request.Append {
		s.objects = nil
	}
	for _, o := range objects {
		if o.stored != nil || o.sealed.Ciphertext != nil {
			s.objects = append(s.objects, o)
		}
	}
	return Reply{Load: &load}, nil
}

// read reads all that was written and compares it.
func (s *session) read(request Request) (Reply, error) {
	_, open, err := s.route(request)
	if err != nil {
		return Reply{}, err
	}
	s.mutex.Lock()
	objects := append([]object(nil), s.objects...)
	s.mutex.Unlock()
	var mismatches, stale int64
	load := run(objects, request.Workers, func(o *object) error {
		plaintext, isStale, err := open(o)
		if err == nil && !bytes.Equal(plaintext, o.plaintext) {
			atomic.AddInt64(&mismatches, 1)
		}
		if err == nil && isStale {
			atomic.AddInt64(&stale, 1)
		}
		return err
	})
	load.Mismatches, load.Stale = int(mismatches), int(stale)
	return Reply{Load: &load}, nil
}

// route picks the way of the objects: through the API server's envelope, or
// straight to the service.
func (s *session) route(request Request) (func(*object) error, func(*object) ([]byte, bool, error), error) {
	if request.Through == "service" {
		service, err := s.service(request.API)
		if err != nil {
			return nil, nil, err
		}
		seal := func(o *object) (err error) {
			o.sealed, err = service.Encrypt(context.Background(), o.path, o.plaintext)
			return err
		}
		open := func(o *object) ([]byte, bool, error) {
			plaintext, err := service.Decrypt(context.Background(), o.path, o.sealed)
			return plaintext, false, err
		}
		return seal, open, nil
	}
	config, err := s.load(false)
	if err != nil {
		return nil, nil, err
	}
	seal := func(o *object) (err error) {
		o.stored, err = config.ToStorage(o.path, o.plaintext)
		return err
	}
	open := func(o *object) ([]byte, bool, error) { return config.FromStorage(o.path, o.stored) }
	return seal, open, nil
}

// run does the work on every object with so many workers, and measures it.
func run(objects []object, workers int, work func(*object) error) Load {
	if workers < 1 {
		workers = 1
	}
	times := make([]time.Duration, len(objects))
	load := Load{Count: len(objects)}
	var mutex sync.Mutex
	var group sync.WaitGroup
	var next int64
	started := time.Now()
	for worker := 0; worker < workers; worker++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for {
				i := int(atomic.AddInt64(&next, 1)) - 1
				if i >= len(objects) {
					return
				}
				begun := time.Now()
				err := work(&objects[i])
				times[i] = time.Since(begun)
				if err == nil {
					continue
				}
				mutex.Lock()
				if load.Errors == 0 {
					load.FirstError, load.FirstCode = err.Error(), codeOf(err)
				}
				load.Errors++
				mutex.Unlock()
			}
		}()
	}
	group.Wait()
	load.ElapsedMs = milliseconds(time.Since(started))
	if len(times) > 0 {
		sort.Slice(times, func(a, b int) bool { return times[a] < times[b] })
		load.P50Ms = milliseconds(times[len(times)/2])
		load.P99Ms = milliseconds(times[len(times)*99/100])
		load.MaxMs = milliseconds(times[len(times)-1])
	}
	return load
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
