using System.Globalization;
using KTrace.Tests.Support;

namespace KTrace.Tests.Rsp.Peers;

/// <summary>The small program that the stubs of user processes are tried with: two threads, a counter, signals, and an exit code of its own.</summary>
internal sealed class StubProgram : IDisposable
{
    private const string Source = """
        #include <pthread.h>
        #include <signal.h>
        #include <string.h>
        #include <unistd.h>
        volatile long counter;
        volatile long handled;
        volatile long stop;
        __attribute__((noinline)) void touch(long by) { counter += by; }
        __attribute__((noinline)) void ready(void) { counter += 1000; }
        static void handler(int number) { handled = number; }
        static void *other(void *argument) { while (!stop) usleep(1000); return argument; }
        int main(int count, char **words)
        {
            const char *what = count > 1 ? words[1] : "";
            signal(SIGUSR1, handler);
            if (!strcmp(what, "signal")) { raise(SIGUSR1); return handled ? 3 : 4; }
            if (!strcmp(what, "crash")) *(volatile int *)0 = 1;
            pthread_t thread;
            if (!strcmp(what, "threads")) pthread_create(&thread, 0, other, 0);
            ready();
            for (long i = 1; i <= 5; i++) touch(i);
            while (!strcmp(what, "spin")) touch(1);
            stop = 1;
            if (!strcmp(what, "threads")) pthread_join(thread, 0);
            return 7;
        }
        """;

    private readonly ScratchFolder _folder = new();
    private readonly Dictionary<string, ulong> _symbols;

    /// <param name="options">For gcc: `-static`, say.</param>
    public StubProgram(params string[] options)
    {
        var source = _folder.File("program.c");
        Path = _folder.File("program");
        File.WriteAllText(source, Source);
        PeerProgram.Run("gcc", ["-g", "-O1", "-pthread", "-no-pie", .. options, "-o", Path, source]);
        _symbols = PeerProgram.Run("nm", [Path]).Split('\n')
            .Select(line => line.Split(' '))
            .Where(words => words.Length == 3 && words[2] is "touch" or "ready" or "counter")
            .ToDictionary(words => words[2], words => ulong.Parse(words[0], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture));
    }

    public string Path { get; }

    /// <summary>The function called five times, with 1 to 5.</summary>
    public ulong Touch => _symbols["touch"];

    /// <summary>The function called once, when there are as many threads as there will be.</summary>
    public ulong Ready => _symbols["ready"];

    /// <summary>What <see cref="Touch"/> adds to; eight bytes.</summary>
    public ulong Counter => _symbols["counter"];

    public void Dispose() => _folder.Dispose();
}
