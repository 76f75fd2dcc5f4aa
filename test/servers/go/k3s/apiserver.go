package main

import (
	"context"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/errors"
	utilfeature "k8s.io/apiserver/pkg/util/feature"
	logsapi "k8s.io/component-base/logs/api/v1"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

// runAPIServer is app.NewAPIServerCommand, which tells nobody of the handlers that it makes.
func runAPIServer(ctx context.Context, args []string, made chan<- handlers) error {
	wanted := options.NewServerRunOptions()
	flags := pflag.NewFlagSet("kube-apiserver", pflag.ContinueOnError)
	sets := wanted.Flags()
	for _, set := range sets.FlagSets {
		flags.AddFlagSet(set)
	}
	// Of k3s' fork: the port of the endpoints in the Service "kubernetes", which no pod is there to use.
	flags.Int("advertise-port", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := wanted.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return err
	}
	if err := logsapi.ValidateAndApply(wanted.Logs, utilfeature.DefaultFeatureGate); err != nil {
		return err
	}
	completed, err := wanted.Complete(ctx)
	if err != nil {
		return err
	}
	if found := completed.Validate(); len(found) != 0 {
		return errors.NewAggregate(found)
	}
	config, err := app.NewConfig(completed)
	if err != nil {
		return err
	}
	complete, err := config.Complete()
	if err != nil {
		return err
	}
	chain, err := app.CreateServerChain(complete)
	if err != nil {
		return err
	}
	generic := config.KubeAPIs.ControlPlane.Generic
	made <- handlers{generic.Authentication.Authenticator, chain.GenericAPIServer.Handler}
	prepared, err := chain.PrepareRun()
	if err != nil {
		return err
	}
	return prepared.Run(ctx)
}
