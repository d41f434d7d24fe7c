/* What the proxy does most often, without an interpreter: reading and finding header lines, receiving and sending.

   Everything here has a twin in plain.py that does the same, and is what is meant: this file exists for speed
   alone. It decides nothing. A header line that is special, malformed or in any way unusual is handed to the Python
   that knows the rules, KnownLines.__missing__ in fields.py; what is left is copying. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

/* -- header lines --------------------------------------------------------------------------------------------- */

/* The lower case of a character of a token (RFC 9110, 5.6.2); 0 for any other character. */
static const unsigned char TOKEN[256] = {
    ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*', ['+'] = '+',
    ['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`', ['|'] = '|', ['~'] = '~',
    ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4',
    ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9',
    ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h',
    ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p',
    ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x',
    ['y'] = 'y', ['z'] = 'z',
    ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h',
    ['I'] = 'i', ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p',
    ['Q'] = 'q', ['R'] = 'r', ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x',
    ['Y'] = 'y', ['Z'] = 'z',
};

#define LONGEST_NAME 63 /* of those that are watched; a longer name takes the long way */

/* Reads the lines of heads: LineReader(known, watched), see plain.py. */
typedef struct {
    PyObject_HEAD
    PyObject *known;                        /* the mapping that knows what is passed on of any line */
    PyObject *watched;                      /* a tuple of the lower-case names that only it understands */
    uint64_t lengths[128];                  /* bit n: a watched name of n characters begins with this one */
} LineReader;

/* Bytes that grow. */
typedef struct {
    char *bytes;
    Py_ssize_t size, room;
    char small[4096];
} Block;

static char *
block_extend(Block *block, Py_ssize_t more)
{
    Py_ssize_t size = block->size + more;
    if (size > block->room) {
        Py_ssize_t room = 2 * size;
        char *bytes = PyMem_Malloc(room);
        if (bytes == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        memcpy(bytes, block->bytes, block->size);
        if (block->bytes != block->small) {
            PyMem_Free(block->bytes);
        }
        block->bytes = bytes;
        block->room = room;
    }
    char *at = block->bytes + block->size;
    block->size = size;
    return at;
}

/* The end of the line that begins here: its CRLF, or the end of all. */
static const char *
line_end(const char *at, const char *end)
{
    for (const char *from = at; from < end;) {
        const char *found = memchr(from, '\r', end - from);
        if (found == NULL) {
            return end;
        }
        if (found + 1 < end && found[1] == '\n') {
            return found;
        }
        from = found + 1;
    }
    return end;
}

static int
is_watched(LineReader *self, const char *name, Py_ssize_t size)
{
    if (size > LONGEST_NAME) {
        return 1;
    }
    unsigned char first = TOKEN[(unsigned char)name[0]];
    if (!(self->lengths[first] >> size & 1)) {
        return 0;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->watched); i++) {
        PyObject *one = PyTuple_GET_ITEM(self->watched, i);
        if (PyBytes_GET_SIZE(one) == size) {
            const char *expected = PyBytes_AS_STRING(one);
            Py_ssize_t same = 0;
            while (same < size && TOKEN[(unsigned char)name[same]] == (unsigned char)expected[same]) {
                same++;
            }
            if (same == size) {
                return 1;
            }
        }
    }
    return 0;
}

/* Whether a value has a character that no value may have: a control character other than the tab. */
static int
has_control(const char *at, const char *end)
{
    unsigned char bad = 0;
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        bad |= (c < 0x20 && c != '\t') | (c == 0x7f);
    }
    return bad;
}

/* Copy a line that is a field and not watched, written as we write it; 0 where it is not as simple as that. */
static int
copy_plain(LineReader *self, Block *block, const char *line, const char *end)
{
    const char *colon = line;
    while (colon < end && TOKEN[(unsigned char)*colon]) {
        colon++;
    }
    if (colon == line || colon == end || *colon != ':' || is_watched(self, line, colon - line)) {
        return 0;
    }
    const char *value = colon + 1, *last = end;
    while (value < last && (*value == ' ' || *value == '\t')) {
        value++;
    }
    while (last > value && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }
    if (has_control(value, last)) {
        return 0;
    }
    Py_ssize_t name_size = colon - line, value_size = last - value;
    char *to = block_extend(block, name_size + 2 + value_size + 2);
    if (to == NULL) {
        return -1;
    }
    memcpy(to, line, name_size);
    to += name_size;
    *to++ = ':';
    *to++ = ' ';
    memcpy(to, value, value_size);
    to += value_size;
    *to++ = '\r';
    *to = '\n';
    return 1;
}

/* Ask `known` what is passed on of a line; nothing is a field that the gateway itself has to look at. */
static int
ask_known(LineReader *self, Block *block, PyObject *special, const char *line, const char *end)
{
    PyObject *key = PyBytes_FromStringAndSize(line, end - line);
    if (key == NULL) {
        return -1;
    }
    PyObject *field = PyObject_GetItem(self->known, key);
    Py_DECREF(key);
    if (field == NULL) {
        return -1;
    }
    int done = -1;
    if (!PyBytes_Check(field)) {
        PyErr_SetString(PyExc_TypeError, "what is passed on of a line must be bytes");
    }
    else if (PyBytes_GET_SIZE(field) == 0) {
        done = PyList_Append(special, field);
    }
    else {
        char *to = block_extend(block, PyBytes_GET_SIZE(field));
        if (to != NULL) {
            memcpy(to, PyBytes_AS_STRING(field), PyBytes_GET_SIZE(field));
            done = 0;
        }
    }
    Py_DECREF(field);
    return done;
}

static int
read_lines(LineReader *self, Block *block, PyObject *special, const char *at, const char *end)
{
    while (at < end) {
        const char *line = at + 2; /* behind the line end before it */
        at = line < end ? line_end(line, end) : end;
        int copied = copy_plain(self, block, line, at);
        if (copied < 0 || (copied == 0 && ask_known(self, block, special, line, at) < 0)) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
line_reader_read(LineReader *self, PyObject *head)
{
    if (!PyBytes_CheckExact(head)) {
        PyErr_Format(PyExc_TypeError, "expected bytes, got %R", Py_TYPE(head));
        return NULL;
    }
    const char *begin = PyBytes_AS_STRING(head), *end = begin + PyBytes_GET_SIZE(head);
    const char *at = line_end(begin, end);
    PyObject *special = PyList_New(0), *first = NULL, *passing = NULL, *fields = NULL, *result = NULL;
    if (special == NULL) {
        return NULL;
    }
    Block block = {.bytes = block.small, .size = 0, .room = sizeof block.small};
    if (read_lines(self, &block, special, at, end) == 0) {
        first = PyBytes_FromStringAndSize(begin, at - begin);
        passing = PyBytes_FromStringAndSize(block.bytes, block.size);
        fields = PyList_AsTuple(special);
        if (first != NULL && passing != NULL && fields != NULL) {
            result = PyTuple_Pack(3, first, passing, fields);
        }
    }
    Py_XDECREF(first);
    Py_XDECREF(passing);
    Py_XDECREF(fields);
    Py_DECREF(special);
    if (block.bytes != block.small) {
        PyMem_Free(block.bytes);
    }
    return result;
}

static PyObject *
line_reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"known", "watched", NULL};
    PyObject *known, *watched;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:LineReader", names, &known, &watched)) {
        return NULL;
    }
    LineReader *self = (LineReader *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->known = Py_NewRef(known);
    self->watched = PySequence_Tuple(watched);
    if (self->watched == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self->watched); i++) {
        PyObject *one = PyTuple_GET_ITEM(self->watched, i);
        if (!PyBytes_Check(one) || PyBytes_GET_SIZE(one) < 1 || PyBytes_GET_SIZE(one) > LONGEST_NAME
            || (unsigned char)PyBytes_AS_STRING(one)[0] > 127) {
            PyErr_Format(PyExc_ValueError, "%R: no name of a field that can be watched", one);
            Py_DECREF(self);
            return NULL;
        }
        self->lengths[(unsigned char)PyBytes_AS_STRING(one)[0]] |= (uint64_t)1 << PyBytes_GET_SIZE(one);
    }
    return (PyObject *)self;
}

static int
line_reader_traverse(LineReader *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->known);
    Py_VISIT(self->watched);
    return 0;
}

static int
line_reader_clear(LineReader *self)
{
    Py_CLEAR(self->known);
    Py_CLEAR(self->watched);
    return 0;
}

static void
line_reader_dealloc(LineReader *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    line_reader_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef line_reader_methods[] = {
    {"read", (PyCFunction)line_reader_read, METH_O,
     "The first line of a head, what is passed on of the others, and its special fields."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot line_reader_slots[] = {
    {Py_tp_doc, "Reads the lines of heads; see twisted_kong.proxy.plain."},
    {Py_tp_new, line_reader_new},
    {Py_tp_traverse, line_reader_traverse},
    {Py_tp_clear, line_reader_clear},
    {Py_tp_dealloc, line_reader_dealloc},
    {Py_tp_methods, line_reader_methods},
    {0, NULL},
};

static PyType_Spec line_reader_spec = {
    .name = "twisted_kong.proxy._accelerator.LineReader",
    .basicsize = sizeof(LineReader),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = line_reader_slots,
};

/* values_of(head, name): all values of the field with this lower-case name, in order. */
static PyObject *
values_of(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyBytes_Check(args[0]) || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "values_of(head: bytes, name: bytes)");
        return NULL;
    }
    const char *at = PyBytes_AS_STRING(args[0]), *end = at + PyBytes_GET_SIZE(args[0]);
    const char *name = PyBytes_AS_STRING(args[1]);
    Py_ssize_t size = PyBytes_GET_SIZE(args[1]);
    PyObject *found = PyList_New(0);
    while (found != NULL && (at = memchr(at, '\n', end - at)) != NULL) {
        at++;
        if (end - at <= size || at[size] != ':') {
            continue;
        }
        Py_ssize_t same = 0;
        while (same < size && Py_TOLOWER((unsigned char)at[same]) == (unsigned char)name[same]) {
            same++;
        }
        if (same < size) {
            continue;
        }
        at += size + 1;
        const char *value = at, *last = line_end(at, end);
        while (value < last && (*value == ' ' || *value == '\t')) {
            value++;
        }
        while (last > value && (last[-1] == ' ' || last[-1] == '\t')) {
            last--;
        }
        PyObject *one = PyBytes_FromStringAndSize(value, last - value);
        if (one == NULL || PyList_Append(found, one) < 0) {
            Py_CLEAR(found);
        }
        Py_XDECREF(one);
    }
    return found;
}

/* -- sockets --------------------------------------------------------------------------------------------------- */

/* Sockets here never block, so the interpreter's lock is kept: to give it away and to get it back costs more than
   most of these calls. */

typedef struct {
    PyObject *spare; /* bytes that nobody has, to be received into */
} State;

/* receive(fd, size): at most `size` bytes, empty at the end of the stream, None where there is nothing yet. */
static PyObject *
receive(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    State *state = PyModule_GetState(module);
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "receive(fd: int, size: int)");
        return NULL;
    }
    int fd = (int)PyLong_AsLong(args[0]);
    Py_ssize_t size = PyLong_AsSsize_t(args[1]);
    if (PyErr_Occurred()) {
        return NULL;
    }
    if (state->spare == NULL || PyBytes_GET_SIZE(state->spare) != size) {
        Py_XSETREF(state->spare, PyBytes_FromStringAndSize(NULL, size));
        if (state->spare == NULL) {
            return NULL;
        }
    }
    ssize_t got;
    do {
        got = recv(fd, PyBytes_AS_STRING(state->spare), size, 0);
    } while (got < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    if (got < 0) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            Py_RETURN_NONE;
        }
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    if (got < size / 4) {
        return PyBytes_FromStringAndSize(PyBytes_AS_STRING(state->spare), got);
    }
    /* much of it: rather a new one for the next time than a copy */
    PyObject *data = state->spare;
    state->spare = NULL;
    if (got < size && _PyBytes_Resize(&data, got) < 0) {
        return NULL;
    }
    return data;
}

/* send(fd, data): how many bytes the system has taken; 0 where it would block, or the connection is broken. */
static PyObject *
send_at_once(PyObject *module, PyObject *const *args, Py_ssize_t count)
{
    if (count != 2 || !PyBytes_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "send(fd: int, data: bytes)");
        return NULL;
    }
    int fd = (int)PyLong_AsLong(args[0]);
    if (fd == -1 && PyErr_Occurred()) {
        return NULL;
    }
    ssize_t sent;
    do {
        sent = send(fd, PyBytes_AS_STRING(args[1]), PyBytes_GET_SIZE(args[1]), MSG_NOSIGNAL);
    } while (sent < 0 && errno == EINTR && PyErr_CheckSignals() == 0);
    if (PyErr_Occurred()) {
        return NULL;
    }
    return PyLong_FromSsize_t(sent < 0 ? 0 : sent);
}

/* -- the module ------------------------------------------------------------------------------------------------ */

static PyMethodDef functions[] = {
    {"values_of", (PyCFunction)(void (*)(void))values_of, METH_FASTCALL, "See twisted_kong.proxy.plain."},
    {"receive", (PyCFunction)(void (*)(void))receive, METH_FASTCALL, "See twisted_kong.proxy.plain."},
    {"send", (PyCFunction)(void (*)(void))send_at_once, METH_FASTCALL, "See twisted_kong.proxy.plain."},
    {NULL, NULL, 0, NULL},
};

static int
fill_module(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &line_reader_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    int added = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return added;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    Py_VISIT(((State *)PyModule_GetState(module))->spare);
    return 0;
}

static int
module_clear(PyObject *module)
{
    Py_CLEAR(((State *)PyModule_GetState(module))->spare);
    return 0;
}

static void
module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, fill_module},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_accelerator",
    .m_doc = "The C half of twisted_kong.proxy.accelerator.",
    .m_size = sizeof(State),
    .m_methods = functions,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__accelerator(void)
{
    return PyModuleDef_Init(&module_definition);
}
