package main

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/k3s-io/k3s/pkg/cli/cmds"
	"github.com/k3s-io/k3s/pkg/daemons/config"
	"github.com/k3s-io/k3s/pkg/daemons/executor"
	"github.com/k3s-io/k3s/pkg/signals"
	"github.com/k3s-io/k3s/pkg/util"
	"k8s.io/apiserver/pkg/authentication/authenticator"
)

// errLeftOut is of what the tests' configuration of k3s switches off.
var errLeftOut = errors.New("this k3s has no such part")

// controlPlane is to k3s what its pkg/executor/embed is: that one needs k3s' fork of Kubernetes.
type controlPlane struct {
	apiServerReady <-chan struct{}
	datastoreReady chan struct{}
	runtimeReady   chan struct{}
	handlers       chan handlers
}

// handlers is what k3s needs of kube-apiserver, to serve it at its own port.
type handlers struct {
	authenticator authenticator.Request
	handler       http.Handler
}

func (c *controlPlane) Bootstrap(ctx context.Context, node *config.Node, _ cmds.Agent) error {
	kubeconfig := node.AgentConfig.KubeConfigK3sController
	c.apiServerReady = util.APIServerReadyChan(ctx, kubeconfig, util.DefaultAPIServerReadyTimeout)
	c.datastoreReady = make(chan struct{})
	c.runtimeReady = make(chan struct{})
	c.handlers = make(chan handlers, 1)
	return nil
}

// APIServer runs it in this process with the arguments that k3s has made, as k3s does.
func (c *controlPlane) APIServer(ctx context.Context, args []string) error {
	go func() {
		<-c.datastoreReady
		err := runAPIServer(ctx, args, c.handlers)
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		signals.RequestShutdown(err)
	}()
	return nil
}

func (c *controlPlane) APIServerHandlers(ctx context.Context) (authenticator.Request, http.Handler, error) {
	select {
	case found := <-c.handlers:
		return found.authenticator, found.handler, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// ETCD is called with kine, too: only to learn when the datastore can be used, which is at once.
func (c *controlPlane) ETCD(ctx context.Context, _ *sync.WaitGroup, args *executor.ETCDConfig, _ []string, test executor.TestFunc) error {
	if args != nil {
		return errLeftOut
	}
	return executor.CloseIfNilErr(test(ctx, false), c.datastoreReady)
}

func (c *controlPlane) CRI(context.Context, *config.Node) error {
	return executor.CloseIfNilErr(nil, c.runtimeReady)
}

func (*controlPlane) CurrentETCDOptions() (executor.InitialOptions, error) {
	return executor.InitialOptions{}, nil
}

func (c *controlPlane) APIServerReadyChan() <-chan struct{} { return c.apiServerReady }
func (c *controlPlane) ETCDReadyChan() <-chan struct{}      { return c.datastoreReady }
func (c *controlPlane) CRIReadyChan() <-chan struct{}       { return c.runtimeReady }
func (*controlPlane) IsSelfHosted() bool                    { return false }

func (*controlPlane) Kubelet(context.Context, []string) error           { return errLeftOut }
func (*controlPlane) KubeProxy(context.Context, []string) error         { return errLeftOut }
func (*controlPlane) ControllerManager(context.Context, []string) error { return errLeftOut }
func (*controlPlane) Containerd(context.Context, *config.Node) error    { return errLeftOut }
func (*controlPlane) Docker(context.Context, *config.Node) error        { return errLeftOut }

func (*controlPlane) Scheduler(context.Context, <-chan struct{}, []string) error {
	return errLeftOut
}

func (*controlPlane) CloudControllerManager(context.Context, <-chan struct{}, []string) error {
	return errLeftOut
}

func (*controlPlane) CNI(context.Context, *sync.WaitGroup, *config.Node) error { return errLeftOut }
