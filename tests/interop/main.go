// A peer made with hashicorp/yamux, the implementation that the others follow. It does what the lines
// on its standard input say, so that each test tells its whole story in one place.
//
// A line is "TAG VERB ARGUMENT...", and is answered by "TAG ok WORD..." or "TAG error TEXT". Lines are
// carried out at the same time; who wants an order waits for the answers. The peer ends with its input.
//
// It is the yamux client if it is told where to dial, and else the server; then it prints first where
// it listens. Under yamux there is TLS, as on every link of Tidegate.
//
// The release of yamux is 0.1.2 because in 0.1.1 a stream that was closed reads an end at once, whatever
// its peer has still to say: with that, nothing can be learned about half-close. It asks for Go 1.20 and
// uses nothing that Go 1.19 lacks, which is what Debian 12 has.
package main

import (
	"bufio"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"flag"
	"fmt"
	"hash"
	"io"
	"log"
	"math/rand"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

// Far longer than anything takes: what is slow is for the test to find out.
const patience = time.Minute

func main() {
	dial := flag.String("dial", "", "where to dial; without it, listen")
	certificate := flag.String("cert", "", "file with our certificate and key")
	authority := flag.String("ca", "", "file with the authority's certificate")
	config := yamux.DefaultConfig()
	window := flag.Uint("window", uint(config.MaxStreamWindowSize), "receive window of a stream, in bytes")
	flag.IntVar(&config.AcceptBacklog, "backlog", config.AcceptBacklog, "streams that may wait for Accept")
	flag.DurationVar(&config.StreamCloseTimeout, "close-timeout", config.StreamCloseTimeout,
		"how long a stream that is closed waits for the end of its peer before it is reset")
	flag.Parse()
	config.MaxStreamWindowSize = uint32(*window)
	config.EnableKeepAlive = false // pings are sent when the test says so
	config.ConnectionWriteTimeout = patience

	connection := must(connect(*dial, settings(*certificate, *authority)))
	start := yamux.Server
	if *dial != "" {
		start = yamux.Client
	}
	p := &peer{session: must(start(connection, config)), streams: map[uint32]*yamux.Stream{}}
	var output sync.Mutex
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		go func() {
			answer := p.answer(words[1], words[2:])
			output.Lock()
			defer output.Unlock()
			fmt.Println(words[0], answer)
		}()
	}
	p.session.Close()
}

func settings(certificate, authority string) *tls.Config {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(must(os.ReadFile(authority)))
	return &tls.Config{
		Certificates: []tls.Certificate{must(tls.LoadX509KeyPair(certificate, certificate))},
		RootCAs:      roots,
		ClientCAs:    roots,
		ClientAuth:   tls.RequireAndVerifyClientCert,
		NextProtos:   []string{"tidegate/1"},
	}
}

func connect(address string, settings *tls.Config) (net.Conn, error) {
	if address != "" {
		return tls.Dial("tcp", address, settings)
	}
	listener := must(tls.Listen("tcp", "127.0.0.1:0", settings))
	defer listener.Close()
	fmt.Println(listener.Addr())
	return listener.Accept()
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

// peer is the session and the streams that a test can name by their numbers.
type peer struct {
	session *yamux.Session
	mutex   sync.Mutex
	streams map[uint32]*yamux.Stream
}

func (p *peer) answer(verb string, arguments []string) string {
	words, err := p.do(verb, arguments)
	if err != nil {
		return fmt.Sprint("error ", err)
	}
	return strings.TrimSpace("ok " + words)
}

func (p *peer) do(verb string, arguments []string) (string, error) {
	switch verb { // what concerns the session
	case "open":
		return p.keep(p.session.OpenStream())
	case "accept":
		return p.keep(p.session.AcceptStream())
	case "serve":
		return "", p.serve(number(arguments[0]))
	case "rush":
		return "", p.rush(number(arguments[0]))
	case "ping":
		_, err := p.session.Ping()
		return "", err
	case "count":
		return strconv.Itoa(p.session.NumStreams()), nil
	case "goaway":
		return "", p.session.GoAway()
	case "shutdown":
		return "", p.session.Close()
	case "closed":
		<-p.session.CloseChan()
		return "", nil
	}
	p.mutex.Lock()
	stream := p.streams[uint32(number(arguments[0]))]
	p.mutex.Unlock()
	switch verb { // what concerns a stream
	case "write":
		return write(stream, number(arguments[1]), number(arguments[2]), number(arguments[3])), nil
	case "read":
		return read(stream, number(arguments[1])), nil
	case "echo":
		return echo(stream), nil
	case "say":
		_, err := stream.Write(must(hex.DecodeString(arguments[1])))
		return "", err
	case "hear":
		heard := make([]byte, number(arguments[1]))
		_, err := io.ReadFull(stream, heard)
		return hex.EncodeToString(heard), err
	case "close":
		return "", stream.Close()
	case "deadline":
		return "", stream.SetDeadline(time.Now().Add(time.Duration(number(arguments[1])) * time.Millisecond))
	case "no-deadline":
		return "", stream.SetDeadline(time.Time{})
	}
	return "", fmt.Errorf("no such verb: %s", verb)
}

func number(word string) int { return must(strconv.Atoi(word)) }

func (p *peer) keep(stream *yamux.Stream, err error) (string, error) {
	if err != nil {
		return "", err
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.streams[stream.StreamID()] = stream
	return strconv.Itoa(int(stream.StreamID())), nil
}

// moved says how many bytes went one way, what their SHA-256 is, and how it ended.
func moved(count int, digest hash.Hash, end string) string {
	return fmt.Sprintf("%d %x %s", count, digest.Sum(nil), end)
}

// write writes random bytes, a piece at a time.
func write(stream *yamux.Stream, size, piece, seed int) string {
	random, digest := rand.New(rand.NewSource(int64(seed))), sha256.New()
	buffer := make([]byte, piece)
	for left := size; left > 0; {
		if left < piece {
			buffer = buffer[:left]
		}
		random.Read(buffer)
		written, err := stream.Write(buffer)
		digest.Write(buffer[:written])
		left -= written
		if err != nil {
			return moved(size-left, digest, err.Error())
		}
	}
	return moved(size, digest, "done")
}

// read reads up to a limit.
func read(stream *yamux.Stream, limit int) string {
	digest := sha256.New()
	count, err := io.Copy(digest, io.LimitReader(stream, int64(limit)))
	switch {
	case err != nil:
		return moved(int(count), digest, err.Error())
	case int(count) < limit:
		return moved(int(count), digest, "EOF")
	}
	return moved(int(count), digest, "done")
}

// echo says everything again and ends when the other side has ended.
func echo(stream *yamux.Stream) string {
	defer stream.Close()
	digest := sha256.New()
	count, err := io.Copy(stream, io.TeeReader(stream, digest))
	if err != nil {
		return moved(int(count), digest, err.Error())
	}
	return moved(int(count), digest, "EOF")
}

// serve accepts that many streams, one after the other, and echoes them all at once.
func (p *peer) serve(count int) error {
	ends := make(chan error, count)
	for i := 0; i < count; i++ {
		stream, err := p.session.AcceptStream()
		if err != nil {
			return err
		}
		go func() {
			_, err := io.Copy(stream, stream)
			stream.Close()
			ends <- err
		}()
	}
	for i := 0; i < count; i++ {
		if err := <-ends; err != nil {
			return err
		}
	}
	return nil
}

// rush opens streams as fast as it can, says a word on each, closes it at once, and waits for the echo.
func (p *peer) rush(count int) error {
	ends := make(chan error, count)
	for i := 0; i < count; i++ {
		go func() { ends <- p.hurry() }()
	}
	for i := 0; i < count; i++ {
		if err := <-ends; err != nil {
			return err
		}
	}
	return nil
}

func (p *peer) hurry() error {
	stream, err := p.session.OpenStream()
	if err != nil {
		return err
	}
	word := fmt.Sprint("word ", stream.StreamID())
	if _, err := io.WriteString(stream, word); err != nil {
		return err
	}
	if err := stream.Close(); err != nil {
		return err
	}
	echoed, err := io.ReadAll(stream)
	if err == nil && string(echoed) != word {
		err = fmt.Errorf("%q came back instead of %q", echoed, word)
	}
	return err
}
