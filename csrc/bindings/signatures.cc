// Python reads a compiled function's signature at the beginning of its doc string, in a form of its
// own: "get(self, key, timeout=None)\n--\n\n" before the text. pybind11 writes another one, with
// types: "get(self: Store, key: str, timeout: float | None = None) -> bytes". So the first is made
// of the second, which stays, as the types are in nothing else.
#include "bindings/signatures.h"

#include <cstdlib>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace py = pybind11;

namespace rdzv {
namespace {

constexpr std::string_view kMark = "\n--\n\n";

// What stands between the parentheses that begin at `open`, and between its commas, other than those
// in brackets and in strings. Nothing if they do not end.
std::optional<std::vector<std::string_view>> arguments_of(std::string_view text, size_t open) {
  std::vector<std::string_view> arguments;
  int depth = 0;
  char quote = 0;
  size_t begin = open + 1;
  for (size_t at = open; at < text.size(); ++at) {
    const char c = text[at];
    if (quote != 0) {
      if (c == '\\') ++at;
      if (c == quote) quote = 0;
      continue;
    }
    if (c == '\'' || c == '"') quote = c;
    if (c == '(' || c == '[' || c == '{') ++depth;
    if (c == ')' || c == ']' || c == '}') --depth;
    if (depth == 0 || (depth == 1 && c == ',')) {
      if (at > begin) arguments.push_back(text.substr(begin, at - begin));
      begin = at + 1;
      if (begin < text.size() && text[begin] == ' ') ++begin;
    }
    if (depth == 0) return arguments;
  }
  return std::nullopt;
}

// "timeout: float | None = None" becomes "timeout=None".
std::string without_type(std::string_view argument) {
  const size_t name_end = argument.find_first_of(": ");
  std::string plain(argument.substr(0, name_end));
  const size_t equals = argument.rfind(" = ");
  if (equals != std::string_view::npos) plain += "=" + std::string(argument.substr(equals + 3));
  return plain;
}

// "(self, key, timeout=None)", without the first argument if that is `self` and not wanted. Nothing
// for what has several signatures, or none.
std::optional<std::string> plain_signature(std::string_view doc, const std::string& name,
                                           bool with_self) {
  if (!doc.starts_with(name + "(")) return std::nullopt;
  const auto arguments = arguments_of(doc, name.size());
  if (!arguments) return std::nullopt;
  std::string text = "(";
  for (size_t i = with_self ? 0 : 1; i < arguments->size(); ++i) {
    if (text.size() > 1) text += ", ";
    text += without_type((*arguments)[i]);
  }
  return text + ")";
}

// Both were allocated as pybind11 does it, which frees them with the function.
void give_to_function(PyMethodDef& definition) {
  if (definition.ml_doc == nullptr) return;
  const std::string_view doc = definition.ml_doc;
  const auto signature = plain_signature(doc, definition.ml_name, true);
  if (!signature) return;
  const std::string text = definition.ml_name + *signature + std::string(kMark) + std::string(doc);
  char* copy = ::strdup(text.c_str());
  if (copy == nullptr) throw std::bad_alloc();
  std::free(const_cast<char*>(definition.ml_doc));
  definition.ml_doc = copy;
}

PyMethodDef* definition_of(PyObject* object) {
  if (PyInstanceMethod_Check(object)) object = PyInstanceMethod_GET_FUNCTION(object);
  return PyCFunction_Check(object) ? reinterpret_cast<PyCFunctionObject*>(object)->m_ml : nullptr;
}

char* allocate_doc(size_t bytes) {
#if PY_VERSION_HEX >= 0x030D0000
  return static_cast<char*>(PyMem_Malloc(bytes));
#else
  return static_cast<char*>(PyObject_Malloc(bytes));
#endif
}

void free_doc(const char* doc) {
#if PY_VERSION_HEX >= 0x030D0000
  PyMem_Free(const_cast<char*>(doc));
#else
  PyObject_Free(const_cast<char*>(doc));
#endif
}

// That of the constructor. Python looks for it in the class's own doc string; `__doc__` is set already
// and stays without it.
void give_to_class(PyTypeObject* type, std::string_view constructor) {
  const auto signature = plain_signature(constructor, "__init__", false);
  if (!signature) return;
  const char* name = std::strrchr(type->tp_name, '.');
  name = name == nullptr ? type->tp_name : name + 1;
  const std::string doc = type->tp_doc == nullptr ? "" : type->tp_doc;
  const std::string text = name + *signature + std::string(kMark) + doc;
  char* copy = allocate_doc(text.size() + 1);
  if (copy == nullptr) throw std::bad_alloc();
  std::memcpy(copy, text.c_str(), text.size() + 1);
  free_doc(type->tp_doc);
  type->tp_doc = copy;
}

void give_to_members(PyTypeObject* type) {
  for (const auto& [name, member] : py::reinterpret_borrow<py::dict>(type->tp_dict)) {
    PyMethodDef* definition = definition_of(member.ptr());
    if (definition == nullptr || definition->ml_doc == nullptr) continue;
    if (std::string_view(definition->ml_name) == "__init__")
      give_to_class(type, definition->ml_doc);
    give_to_function(*definition);
  }
}

}  // namespace

void give_signatures(py::module_& module) {
  for (const auto& [name, value] : py::dict(module.attr("__dict__"))) {
    if (PyType_Check(value.ptr())) {
      give_to_members(reinterpret_cast<PyTypeObject*>(value.ptr()));
    } else if (PyMethodDef* definition = definition_of(value.ptr())) {
      give_to_function(*definition);
    }
  }
}

}  // namespace rdzv
