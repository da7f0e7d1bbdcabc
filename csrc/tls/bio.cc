// OpenSSL's two ends: it reads what the session was handed, and writes to what the session sends.
#include <algorithm>
#include <cstring>
#include <new>

#include "tls/parts.h"

namespace rdzv::tls {
namespace {

int read_input(BIO* bio, char* to, size_t room, size_t* count) {
  auto& session = *static_cast<Session::Impl*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *count = std::min(room, session.input.size());
  if (*count == 0) {
    BIO_set_retry_read(bio);
    return 0;
  }
  std::memcpy(to, session.input.data(), *count);
  session.input.remove_prefix(*count);
  return 1;
}

int write_out(BIO* bio, const char* from, size_t size, size_t* count) {
  auto& session = *static_cast<Session::Impl*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  *count = 0;
  try {
    session.out.append(from, size);
  } catch (const std::bad_alloc&) {
    session.is_out_of_memory = true;  // OpenSSL knows no exceptions
    return 0;
  }
  if (size > 0 && from[0] != kAlertByte) session.has_said_hello = true;
  *count = size;
  return 1;
}

long control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

int create(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

BIO_METHOD* make_method() {
  BIO_METHOD* method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "rendezvous");
  if (method == nullptr) return nullptr;
  BIO_meth_set_read_ex(method, read_input);
  BIO_meth_set_write_ex(method, write_out);
  BIO_meth_set_ctrl(method, control);
  BIO_meth_set_create(method, create);
  return method;
}

}  // namespace

BioPointer make_bio(Session::Impl& session) {
  static BIO_METHOD* const method = make_method();  // for as long as the process lives
  BioPointer bio(method == nullptr ? nullptr : BIO_new(method));
  if (bio != nullptr) BIO_set_data(bio.get(), &session);
  return bio;
}

}  // namespace rdzv::tls
