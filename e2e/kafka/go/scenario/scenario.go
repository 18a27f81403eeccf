// Package scenario is what the clients in Go do in a group: two members share a topic, one leaves, the other takes
// over, and a third goes on where they were.
package scenario

import (
	"fmt"
	"sync"
	"time"
)

// Partitions of the topic, and records that are produced in each round.
const (
	Partitions = 4
	Records    = 400
)

// GroupName is the name of the group.
const GroupName = "readers"

const deadline = 90 * time.Second

// Member is a member of a group, at work.
type Member interface {
	// Leave ends it. What it has read is committed then.
	Leave() error
}

// Client is a library.
type Client interface {
	// Join lets a member in, which notes what it has and reads in its seat.
	Join(seat *Seat) (Member, error)
	// Produce appends records to all partitions in turn.
	Produce(count int) error
	// Committed is the sum of the group's committed offsets.
	Committed() (int64, error)
	// Delete deletes the group, and says whether it is gone.
	Delete() (bool, error)
}

// Seat is what is known of a member.
type Seat struct {
	mutex sync.Mutex
	has   map[int32]bool
	read  map[string]int
	err   error
}

func newSeat() *Seat {
	return &Seat{has: map[int32]bool{}, read: map[string]int{}}
}

// Gain notes partitions that the member has from now on.
func (s *Seat) Gain(partitions []int32) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, partition := range partitions {
		s.has[partition] = true
	}
}

// Lose notes partitions that the member has no more.
func (s *Seat) Lose(partitions []int32) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, partition := range partitions {
		delete(s.has, partition)
	}
}

// Read notes a record.
func (s *Seat) Read(partition int32, offset int64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.read[fmt.Sprintf("%d@%d", partition, offset)]++
}

// Fail notes an error that ends the scenario.
func (s *Seat) Fail(err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *Seat) owned() (int, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.has), s.err
}

func (s *Seat) count() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.read)
}

// Run plays the scenario.
func Run(client Client) error {
	seats := []*Seat{newSeat(), newSeat(), newSeat()}
	first, err := client.Join(seats[0])
	if err != nil {
		return err
	}
	if err := owns(seats[:1], Partitions); err != nil {
		return err
	}
	second, err := client.Join(seats[1])
	if err != nil {
		return err
	}
	if err := owns(seats[:2], Partitions/2, Partitions/2); err != nil {
		return err
	}
	if err := produceAndRead(client, seats[:2], Records, Records); err != nil {
		return err
	}
	if seats[0].count() == 0 || seats[1].count() == 0 {
		return fmt.Errorf("the members have read %d and %d", seats[0].count(), seats[1].count())
	}
	if err := second.Leave(); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	if err := owns(seats[:1], Partitions); err != nil {
		return err
	}
	if err := produceAndRead(client, seats[:2], Records, 2*Records); err != nil {
		return err
	}
	if err := first.Leave(); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return goOn(client, seats)
}

// goOn lets a third member read what comes when all have left, and deletes the group.
func goOn(client Client, seats []*Seat) error {
	if err := once(seats); err != nil {
		return err
	}
	if err := committed(client, 2*Records); err != nil {
		return err
	}
	third, err := client.Join(seats[2])
	if err != nil {
		return err
	}
	if err := produceAndRead(client, seats[2:], 10, 10); err != nil {
		return err
	}
	if err := third.Leave(); err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	if err := committed(client, 2*Records+10); err != nil {
		return err
	}
	gone, err := client.Delete()
	if err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if !gone {
		return fmt.Errorf("the group is still listed")
	}
	return nil
}

func produceAndRead(client Client, seats []*Seat, count, all int) error {
	if err := client.Produce(count); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	return until(fmt.Sprintf("%d records are read", all), func() (bool, error) {
		read := 0
		for _, seat := range seats {
			read += seat.count()
		}
		return read >= all, nil
	})
}

func owns(seats []*Seat, wanted ...int) error {
	return until(fmt.Sprintf("the members have %v partitions", wanted), func() (bool, error) {
		for at, seat := range seats {
			owned, err := seat.owned()
			if err != nil || owned != wanted[at] {
				return false, err
			}
		}
		return true, nil
	})
}

// once checks that no record was read twice.
func once(seats []*Seat) error {
	read := map[string]int{}
	for _, seat := range seats {
		for record, times := range seat.read {
			read[record] += times
		}
	}
	for record, times := range read {
		if times != 1 {
			return fmt.Errorf("%s was read %d times", record, times)
		}
	}
	return nil
}

func committed(client Client, wanted int64) error {
	sum, err := client.Committed()
	if err != nil {
		return fmt.Errorf("committed offsets: %w", err)
	}
	if sum != wanted {
		return fmt.Errorf("committed offsets are %d, not %d", sum, wanted)
	}
	return nil
}

func until(what string, holds func() (bool, error)) error {
	for end := time.Now().Add(deadline); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		done, err := holds()
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("not in time: %s", what)
}
