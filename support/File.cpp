#include "support/File.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <mutex>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace npuc {
namespace {

std::string reason(int error) {
  return std::generic_category().message(error);
}

/// A file descriptor that closes itself.
class Descriptor {
public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor &operator=(Descriptor &&other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0)
      ::close(fd_);
  }
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  /// Closes now; false if the system reports that earlier writes were lost.
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

private:
  int fd_;
};

/// One temporary file that a signal must remove. Entries are reused and never freed, so that a signal handler
/// can walk them at any moment.
struct Unfinished {
  std::string path;
  std::atomic<bool> armed = false;
  Unfinished *next = nullptr;
};

std::atomic<Unfinished *> unfinishedFiles = nullptr;
std::mutex unfinishedMutex;
constexpr int endingSignals[] = {SIGINT, SIGTERM, SIGHUP};

extern "C" void removeUnfinishedFiles(int signal) {
  for (Unfinished *file = unfinishedFiles.load(); file; file = file->next)
    if (file->armed.load())
      ::unlink(file->path.c_str());
  ::signal(signal, SIG_DFL);
  ::raise(signal);
}

/// Takes over the signals that would end the process by default. Ones that are ignored or handled stay as
/// they are.
void handleEndingSignals() {
  for (int signal : endingSignals) {
    struct sigaction current = {};
    ::sigaction(signal, nullptr, &current);
    if (current.sa_handler != SIG_DFL)
      continue;
    struct sigaction action = {};
    action.sa_handler = removeUnfinishedFiles;
    ::sigemptyset(&action.sa_mask);
    ::sigaction(signal, &action, nullptr);
  }
}

Unfinished *registerUnfinished(const std::string &path) {
  std::lock_guard lock(unfinishedMutex);
  handleEndingSignals();
  Unfinished *entry = unfinishedFiles.load();
  while (entry && (entry->armed.load() || !entry->path.empty()))
    entry = entry->next;
  if (!entry) {
    entry = new Unfinished;
    entry->next = unfinishedFiles.load();
    unfinishedFiles.store(entry);
  }
  entry->path = path;
  entry->armed.store(true);
  return entry;
}

void unregisterUnfinished(Unfinished *entry) {
  std::lock_guard lock(unfinishedMutex);
  entry->armed.store(false);
  entry->path.clear();
}

/// Where a write to `path` really goes: symbolic links followed, so that commit replaces the file and not the
/// link.
std::string resolved(const std::string &path) {
  std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), ::free);
  return real ? std::string(real.get()) : path;
}

bool writeAll(int fd, std::span<const std::byte> bytes, std::optional<uint64_t> offset) {
  while (!bytes.empty()) {
    ssize_t count = offset ? ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(*offset))
                           : ::write(fd, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return false;
    bytes = bytes.subspan(static_cast<size_t>(count));
    if (offset)
      *offset += static_cast<uint64_t>(count);
  }
  return true;
}

} // namespace

std::optional<MappedFile> MappedFile::open(const std::string &path, Diagnostics &diagnostics) {
  auto fail = [&](const std::string &why) {
    diagnostics.error(path, "cannot read the file", why);
    return std::nullopt;
  };
  // O_NONBLOCK: opening a named pipe that nobody writes must not wait.
  Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid())
    return fail(reason(errno));
  struct stat status = {};
  if (::fstat(fd.get(), &status) != 0)
    return fail(reason(errno));
  if (S_ISDIR(status.st_mode))
    return fail(reason(EISDIR));
  if (!S_ISREG(status.st_mode))
    return fail("it is not a regular file");
  size_t size = static_cast<size_t>(status.st_size);
  if (size == 0)
    return MappedFile(path, {});
  void *address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (address == MAP_FAILED)
    return fail(reason(errno));
  return MappedFile(path, {static_cast<const std::byte *>(address), size});
}

MappedFile::MappedFile(MappedFile &&other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile &MappedFile::operator=(MappedFile &&other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty())
    ::munmap(const_cast<std::byte *>(bytes_.data()), bytes_.size());
}

struct AtomicFile::State {
  std::string path;
  std::string target;    ///< `path` with links followed.
  std::string temporary; ///< A name that it has, or gets to replace `target`.
  Descriptor fd;
  bool nameless = false;
  Unfinished *entry = nullptr;

  ~State() {
    if (!entry)
      return;
    ::unlink(temporary.c_str());
    unregisterUnfinished(entry);
  }
};

AtomicFile::AtomicFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
AtomicFile::AtomicFile(AtomicFile &&) noexcept = default;
AtomicFile &AtomicFile::operator=(AtomicFile &&) noexcept = default;
AtomicFile::~AtomicFile() = default;

namespace {

/// A name beside `target` that nobody else takes, registered to be removed.
std::string temporaryName(const std::string &target) {
  static std::atomic<unsigned> counter = 0;
  return target + "." + std::to_string(::getpid()) + "." + std::to_string(counter++) + ".tmp";
}

std::string folderOf(const std::string &path) {
  size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

/// The way to an open file's contents by name.
std::string openedName(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

/// A file without a name on the file system of `folder`; an invalid descriptor where there are none, or where
/// they could not be named later.
int openNameless(const std::string &folder, mode_t mode) {
  int fd = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
  if (fd >= 0 && ::access(openedName(fd).c_str(), F_OK) != 0) {
    ::close(fd);
    return -1;
  }
  return fd;
}

} // namespace

std::optional<AtomicFile> AtomicFile::create(const std::string &path, Diagnostics &diagnostics) {
  auto fail = [&](int error) {
    diagnostics.error(path, "cannot write the file", reason(error));
    return std::nullopt;
  };
  auto state = std::make_unique<State>();
  state->path = path;
  state->target = resolved(path);
  struct stat status = {};
  bool exists = ::stat(state->target.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode))
    return fail(EISDIR);
  if (exists && !S_ISREG(status.st_mode)) {
    state->fd = Descriptor(::open(state->target.c_str(), O_WRONLY | O_CLOEXEC));
    if (!state->fd.valid())
      return fail(errno);
    return AtomicFile(std::move(state));
  }
  // Replacing a file needs only the folder's permission; one that was made read-only is to stay as it is.
  if (exists && ::access(state->target.c_str(), W_OK) != 0)
    return fail(errno);
  mode_t mode = exists ? status.st_mode & 0777 : 0666;
  state->fd = Descriptor(openNameless(folderOf(state->target), mode));
  if (state->fd.valid()) {
    state->nameless = true;
    return AtomicFile(std::move(state));
  }
  // Registered before it exists, so that there is no moment at which a signal would leave it behind.
  do {
    if (state->entry)
      unregisterUnfinished(state->entry);
    state->temporary = temporaryName(state->target);
    state->entry = registerUnfinished(state->temporary);
    state->fd = Descriptor(::open(state->temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  } while (!state->fd.valid() && errno == EEXIST);
  if (!state->fd.valid())
    return fail(errno);
  return AtomicFile(std::move(state));
}

bool AtomicFile::write(std::span<const std::byte> bytes, Diagnostics &diagnostics) {
  if (writeAll(state_->fd.get(), bytes, std::nullopt))
    return true;
  diagnostics.error(state_->path, "cannot write the file", reason(errno));
  return false;
}

bool AtomicFile::writeAt(uint64_t offset, std::span<const std::byte> bytes, Diagnostics &diagnostics) {
  if (writeAll(state_->fd.get(), bytes, offset))
    return true;
  diagnostics.error(state_->path, "cannot write the file", reason(errno));
  return false;
}

bool AtomicFile::commit(Diagnostics &diagnostics, bool durable) {
  bool ok = !durable || ::fsync(state_->fd.get()) == 0;
  // A name that is taken cannot be linked to, only renamed to: then there is a temporary name for a moment,
  // of the whole file.
  if (ok && state_->nameless) {
    std::string opened = openedName(state_->fd.get());
    auto link = [&](const std::string &name) {
      return ::linkat(AT_FDCWD, opened.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
    };
    ok = link(state_->target);
    while (!ok && errno == EEXIST) {
      if (state_->entry)
        unregisterUnfinished(state_->entry);
      state_->temporary = temporaryName(state_->target);
      state_->entry = registerUnfinished(state_->temporary);
      ok = link(state_->temporary);
    }
  }
  ok = ok && state_->fd.close();
  if (ok && state_->entry) {
    ok = ::rename(state_->temporary.c_str(), state_->target.c_str()) == 0;
    if (ok)
      unregisterUnfinished(std::exchange(state_->entry, nullptr));
  }
  if (!ok)
    diagnostics.error(state_->path, "cannot write the file", reason(errno));
  return ok;
}

bool writeFile(const std::string &path, std::span<const std::byte> bytes, Diagnostics &diagnostics) {
  std::optional<AtomicFile> file = AtomicFile::create(path, diagnostics);
  return file && file->write(bytes, diagnostics) && file->commit(diagnostics);
}

} // namespace npuc
