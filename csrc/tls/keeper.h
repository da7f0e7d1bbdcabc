// The credentials of one side while its token or certificates are renewed. It is handed the bytes of
// the files whenever somebody has read them, and says which credentials hold now: sessions that
// have begun keep theirs, and bytes that are no good change nothing. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "tls/credentials.h"

namespace rdzv::tls {

// What stands in the files; empty: there is none.
struct Texts {
  std::string tokens{};
  std::string certificate{};
  std::string key{};
  std::string authorities{};

  friend bool operator==(const Texts&, const Texts&) = default;
};

class Keeper {
 public:
  enum class Side { kServer, kClient };

  // Throws what Credentials and parse_tokens do.
  Keeper(Side side, const Texts& texts);

  // True: they are others than before, and hold from now on. Throws as the constructor does, and
  // what held before goes on.
  bool renew(const Texts& texts);
  std::shared_ptr<const Credentials> current() const;
  // The same for who begins no session: nobody looks at the files for that.
  std::shared_ptr<const Credentials> held() const;
  // Another one whenever they are others.
  uint64_t revision() const { return revision_; }
  // Somebody misses what may stand in the files by now.
  void look() const {
    if (before_use_) before_use_();
  }
  // A client's: a session with the server that its user calls `typed`.
  std::unique_ptr<Session> begin(const std::string& typed) const;
  // The name that stands in the server's certificate, if it is another one than is typed; kAnyName:
  // whichever. Set before the keeper is shared.
  void set_server_name(std::string name) { server_name_ = std::move(name); }
  // Called before each session begins: who reads the files may look whether they have changed. Set
  // before the keeper is shared.
  void set_before_use(std::function<void()> look) { before_use_ = std::move(look); }
  // A client's: the name space that it asks for; empty: that of its token. Likewise set before.
  void set_space(std::string space) { space_ = std::move(space); }
  const std::string& space() const { return space_; }

 private:
  static std::shared_ptr<const Credentials> make(Side side, const Texts& texts);

  const Side side_;
  std::function<void()> before_use_;
  std::string server_name_;
  std::string space_;
  std::atomic<uint64_t> revision_{0};
  mutable std::mutex mutex_;  // protects all below
  Texts texts_;
  std::shared_ptr<const Credentials> current_;
};

}  // namespace rdzv::tls
