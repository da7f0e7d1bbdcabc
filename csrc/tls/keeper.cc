#include "tls/keeper.h"

#include <utility>

namespace rdzv::tls {

std::shared_ptr<const Credentials> Keeper::make(Side side, const Texts& texts) {
  Material material;
  if (!texts.tokens.empty()) material.tokens = parse_tokens(texts.tokens);
  material.certificate = texts.certificate;
  material.key = texts.key;
  material.authorities = texts.authorities;
  return side == Side::kServer ? Credentials::for_server(material)
                               : Credentials::for_client(material);
}

Keeper::Keeper(Side side, const Texts& texts)
    : side_(side), texts_(texts), current_(make(side, texts)) {}

bool Keeper::renew(const Texts& texts) {
  {
    std::lock_guard lock(mutex_);
    if (texts == texts_) return false;
  }
  // Keys are derived without the lock: nobody who begins a session waits for it.
  std::shared_ptr<const Credentials> made = make(side_, texts);
  std::lock_guard lock(mutex_);
  texts_ = texts;
  current_ = std::move(made);
  ++revision_;
  return true;
}

std::unique_ptr<Session> Keeper::begin(const std::string& typed) const {
  return current()->begin(server_name_.empty() ? typed : server_name_);
}

std::shared_ptr<const Credentials> Keeper::current() const {
  look();
  return held();
}

std::shared_ptr<const Credentials> Keeper::held() const {
  std::lock_guard lock(mutex_);
  return current_;
}

}  // namespace rdzv::tls
