#include "server/core.h"

#include <memory>

namespace rdzv {

void ServerCore::begin(const Moment& time) {
  commons_.clock.set(time);
  if (!turn_began_) turn_began_ = time.now;
}

Connection& ServerCore::connect(Transport& transport, const Moment& time) {
  begin(time);
  auto made = std::make_unique<Connection>(transport, commons_.home());
  ++commons_.records.counters.connections;
  return *commons_.connections.open.emplace_back(std::move(made));
}

void ServerCore::identify(Connection& connection, const tls::Identity& identity,
                          const Moment& time) {
  begin(time);
  ++commons_.records.counters.secured;
  connection.identify(identity);
}

void ServerCore::refuse(Connection& connection, const std::string& why, const Moment& time) {
  begin(time);
  connection.refuse(why);
}

void ServerCore::refuse(const std::string& peer, const std::string& why, const Moment& time) {
  begin(time);
  commons_.records.audit.refused(peer, why);
}

void ServerCore::receive(Connection& connection, Bytes received, const Moment& time) {
  begin(time);
  commons_.records.counters.received_bytes += received.size();
  connection.receive(received);
}

void ServerCore::end_of_stream(Connection& connection, const Moment& time) {
  begin(time);
  connection.finish();
}

void ServerCore::resume_sending(Connection& connection, const Moment& time) {
  begin(time);
  connection.resume_sending();
}

void ServerCore::close(Connection& connection, const std::string& why, const Moment& time) {
  begin(time);
  connection.close(why);
}

void ServerCore::on_refused(Connection& connection, int error, const Moment& time) {
  begin(time);
  connection.on_refused(error);
}

bool ServerCore::end_turn(const Moment& time) {
  begin(time);
  const bool more = commons_.end_turn();
  if (commons_.records.stopwatch != nullptr)
    commons_.records.counters.turns.add(commons_.records.stopwatch() - *turn_began_);
  turn_began_.reset();
  return more;
}

void ServerCore::run_due(const Moment& until, const Moment& time) {
  begin(time);
  // The others come in the next turn, so that what peers send is looked at between them.
  Budget& budget = commons_.budget;
  const auto run = [&budget](Timers& timers, Instant due) {
    budget.give(Budget::kTimers);
    while (!budget.is_spent() && timers.run(due, 1) > 0) budget.spend(Budget::kTimer);
  };
  run(commons_.clock.timers, until.now);
  run(commons_.clock.awake_timers, until.awake);
}

}  // namespace rdzv
