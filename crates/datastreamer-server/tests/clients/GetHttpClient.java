// Downloads URL to FILE with java.net.http.HttpClient as it comes: it offers an upgrade to HTTP/2.
// Any exception, or a status other than 200, is a failure.

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;

public final class GetHttpClient {
    public static void main(String[] arguments) throws Exception {
        HttpClient client = HttpClient.newHttpClient();
        HttpRequest request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        HttpResponse<Path> response =
                client.send(request, HttpResponse.BodyHandlers.ofFile(Path.of(arguments[1])));
        if (response.statusCode() != 200) {
            System.err.println("status " + response.statusCode());
            System.exit(1);
        }
        System.exit(0); // without waiting for the client's threads
    }
}
