using KTrace.Symbols.Arch;
using KTrace.Symbols.Kernel;
using KTrace.Symbols.Unwind;

namespace KTrace.Tests.Symbols.Unwind;

public class SystemCallsTests
{
    [Theory]
    [InlineData(0, false, "read")]
    [InlineData(16, false, "ioctl")]
    [InlineData(334, false, "rseq")]
    [InlineData(335, false, "uretprobe")]
    [InlineData(424, false, "pidfd_send_signal")]
    [InlineData(462, false, "mseal")]
    [InlineData(0x40000000 + 1, false, "write")] // x32
    [InlineData(3, true, "read")]
    [InlineData(54, true, "ioctl")]
    [InlineData(221, true, "fcntl64")]
    [InlineData(403, true, "clock_gettime64")]
    [InlineData(462, true, "mseal")]
    [InlineData(222, true, null)]
    [InlineData(336, false, null)]
    [InlineData(-1, false, null)]
    [InlineData(5000, true, null)]
    public void Numbers_have_the_names_of_their_table(long number, bool isI386, string? name) => Assert.Equal(name, SystemCalls.NameOf(number, isI386));

    [Fact]
    public void The_headers_of_this_machine_agree_with_the_tables()
    {
        foreach (var (header, isI386) in new[] { ("unistd_64.h", false), ("unistd_32.h", true) })
        {
            var path = "/usr/include/x86_64-linux-gnu/asm/" + header;
            Assert.True(File.Exists(path), $"{path} is missing: install linux-libc-dev");
            var compared = 0;
            foreach (var words in File.ReadLines(path).Select(l => l.Split(' ')))
            {
                if (words is ["#define", ['_', '_', 'N', 'R', '_', .. var name], var number])
                {
                    Assert.Equal(name, SystemCalls.NameOf(long.Parse(number), isI386));
                    compared++;
                }
            }

            Assert.True(compared > 300);
        }
    }

    [Fact]
    public void The_call_of_the_brief_reads_as_people_write_it()
    {
        var user = User((X86_64.Rdi, 3), (X86_64.Rsi, 0x8914), (X86_64.Rdx, 0x7ffd5d2c9c30));

        Assert.Equal("ioctl(3, SIOCSIFFLAGS, 0x7ffd5d2c9c30)", SystemCalls.Format(user, 16, false));
    }

    [Fact]
    public void Every_kind_of_argument_has_its_form()
    {
        Assert.Equal("openat(AT_FDCWD, 0x1000, O_RDWR|O_CREAT|O_CLOEXEC, 0644)",
            SystemCalls.Format(User((X86_64.Rdi, unchecked((ulong)-100)), (X86_64.Rsi, 0x1000), (X86_64.Rdx, 0x80042), (X86_64.R10, 0x1a4)), 257, false));
        Assert.Equal("mmap(NULL, 4096, 0x3, 0x22, -1, 0)",
            SystemCalls.Format(User((X86_64.Rdi, 0), (X86_64.Rsi, 4096), (X86_64.Rdx, 3), (X86_64.R10, 0x22), (X86_64.R8, 0xffffffff), (X86_64.R9, 0)), 9, false));
        Assert.Equal("kill(-1, SIGTERM)", SystemCalls.Format(User((X86_64.Rdi, 0xffffffffffffffff), (X86_64.Rsi, 15)), 62, false));
        Assert.Equal("ioctl(0, 0xabcdef, NULL)", SystemCalls.Format(User((X86_64.Rdi, 0), (X86_64.Rsi, 0xabcdef), (X86_64.Rdx, 0)), 16, false));
        Assert.Equal("getpid()", SystemCalls.Format(User(), 39, false));
        Assert.Equal("syscall_5000(1, 0x123456, -2, …)", SystemCalls.Format(User((X86_64.Rdi, 1), (X86_64.Rsi, 0x123456), (X86_64.Rdx, unchecked((ulong)-2))), 5000, false));
        Assert.Equal("close(?)", SystemCalls.Format(User(), 3, false));
    }

    [Fact]
    public void Compat_calls_take_i386s_numbers_and_registers()
    {
        var user = User((X86_64.Rbx, 3), (X86_64.Rcx, 0x8914), (X86_64.Rdx, 0xffffd000));

        Assert.Equal("ioctl(3, SIOCSIFFLAGS, 0xffffd000)", SystemCalls.Format(user, 54, true));
        var native = new RegisterSet(I386.Instance) { [I386.Ebx] = 1, [I386.Ecx] = 0x8049000, [I386.Edx] = 5 };
        Assert.Equal("write(1, 0x8049000, 5)", SystemCalls.Format(native, 4, false));
    }

    [Fact]
    public void A_path_is_shown_when_its_bytes_were_fetched()
    {
        var memory = new FakeUnwind(X86_64.Instance);
        var user = User((X86_64.Rdi, 0x1000), (X86_64.Rsi, 0x2000), (X86_64.Rdx, 0x3000));

        Assert.Equal("execve(0x1000, 0x2000, 0x3000)", SystemCalls.Format(user, 59, false, memory));
        Assert.Equal("execve(\"/sbin/init\", 0x2000, 0x3000)", SystemCalls.Format(user, 59, false, new Text(0x1000, "/sbin/init")));
    }

    private static RegisterSet User(params (int Register, ulong Value)[] values)
    {
        var registers = new RegisterSet(X86_64.Instance);
        foreach (var (register, value) in values)
        {
            registers[register] = value;
        }

        return registers;
    }

    private sealed class Text(ulong start, string text) : IMemoryReader
    {
        public MemoryReadResult Read(ulong address, Span<byte> destination)
        {
            var bytes = System.Text.Encoding.UTF8.GetBytes(text + "\0");
            if (address < start || address - start + (ulong)destination.Length > (ulong)bytes.Length)
            {
                return MemoryReadResult.NotFetched;
            }

            bytes.AsSpan((int)(address - start), destination.Length).CopyTo(destination);
            return MemoryReadResult.Ok;
        }
    }
}
