// Command toxiproxy is Shopify's TCP proxy that makes a network bad in chosen ways; its API listens
// on the address that is its only argument.
package main

import (
	"fmt"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/Shopify/toxiproxy/v2"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: toxiproxy HOST:PORT")
		os.Exit(2)
	}
	logger := zerolog.New(os.Stderr).Level(zerolog.WarnLevel)
	metrics := toxiproxy.NewMetricsContainer(prometheus.NewRegistry())
	if err := toxiproxy.NewServer(metrics, logger).Listen(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
