#include "server/core.h"

#include <memory>

namespace rdzv {

Connection& ServerCore::connect(Transport& transport, const Moment& time) {
  context_.clock.set(time);
  auto made = std::make_unique<Connection>(transport, context_);
  return *context_.connections.open.emplace_back(std::move(made));
}

void ServerCore::receive(Connection& connection, Bytes received, const Moment& time) {
  context_.clock.set(time);
  connection.receive(received);
}

void ServerCore::end_of_stream(Connection& connection, const Moment& time) {
  context_.clock.set(time);
  connection.end_of_stream();
}

void ServerCore::resume_sending(Connection& connection, const Moment& time) {
  context_.clock.set(time);
  connection.flush();
}

void ServerCore::close(Connection& connection, const std::string& why, const Moment& time) {
  context_.clock.set(time);
  connection.close(why);
}

void ServerCore::on_refused(Connection& connection, int error, const Moment& time) {
  context_.clock.set(time);
  connection.on_refused(error);
}

bool ServerCore::end_turn(const Moment& time) {
  context_.clock.set(time);
  return context_.end_turn();
}

void ServerCore::run_due(const Moment& until, const Moment& time) {
  // The others come in the next turn, so that what peers send is looked at between them.
  constexpr size_t kAtOnce = 512;
  context_.clock.set(time);
  context_.clock.timers.run(until.now, kAtOnce);
  context_.clock.awake_timers.run(until.awake, kAtOnce);
}

}  // namespace rdzv
